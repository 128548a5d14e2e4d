"""Runs every case of tests/data/conformance against one proxyd and says what differs.

Each case has a host name and an origin of its own, so that they run side by side. What the client saw
is judged at once; what the origin saw when the proxy has ended, so that "nothing" means nothing.

    conformance_test.py --proxyd PROGRAM [-k TEXT] [--jobs N]
    conformance_test.py --proxyd PROGRAM --torn      all that is sent is torn apart at random places
    conformance_test.py --proxy nginx [-k TEXT]      what another proxy does, to compare
"""

import concurrent.futures
import pathlib
import re
import sys
import tempfile
import time
import traceback

import cases
import harness
import http1
from client import Client
from harness import Failed, show
from origin import DeadPort, Origin
from proxyd import Proxyd, record

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "conformance"
TRUSTED = "127.0.0.2"
# Short, so that the cases that wait for a limit are over soon; long enough for a busy machine.
SETTINGS = {
    "forwarding__trusted": [TRUSTED], "timeouts__client_header": 3000, "timeouts__client_body": 3000,
    "timeouts__origin_first_byte": 3000, "timeouts__origin_idle": 3000, "limits__body_size": 100_000,
    "origins__failures": 1000,
}
HOP_BY_HOP = ("Keep-Alive", "Proxy-Connection")


class Run:
    """One case and what happened in it."""

    def __init__(self, case, tear):
        self.case = case
        self.tear = tear
        self.client = None
        self.sent = bytearray()
        self.wrong = []     # what does not hold
        self.origin = Origin(case.answers, client_has=self.client_has, tear=tear)
        self.dead = DeadPort()

    def client_has(self, text):
        return self.client is not None and harness.holds(self.client.transcript, text)

    def claim(self, true, text):
        if not true:
            self.wrong.append(text)

    def host_record(self, host):
        ports = [self.origin.port if target == "origin" else self.dead.port for target in self.case.targets]
        more = {"targets": [f"{harness.LOOPBACK}:{port}" for port in ports[1:]]} if ports[1:] else {}
        return record(host, ports[0], **{"forcessl": False, **more, **self.case.record})

    # The client's side.

    def play(self, address, strict):
        try:
            with Client(address, TRUSTED if self.case.source == "trusted" else self.case.source) as self.client:
                self.follow_steps()
                self.read_responses(strict)
        except (Failed, http1.Malformed) as failure:
            self.wrong.append(str(failure))
        except Exception as error:  # noqa: shown with the case
            self.wrong.append("".join(traceback.format_exception(error)))

    def follow_steps(self):
        each_byte = False
        for step, *operand in self.case.send:
            if step == "send":
                self.sent += operand[0]
                pieces = (operand[0],)
                if each_byte:
                    pieces = (bytes([byte]) for byte in operand[0])
                elif self.tear:
                    pieces = self.tear.pieces(operand[0])
                for piece in pieces:
                    self.client.send(piece)
            elif step == "each byte":
                each_byte = True
            elif step == "split":
                time.sleep(Origin.SPLIT)
            elif step == "await client":
                self.client.wait_for(operand[0])
            elif step == "await origin":
                self.origin.wait(lambda: self.origin.received(operand[0]), f"{operand[0]!r} from the proxy")
            elif step == "await answered":
                self.origin.wait(lambda: self.origin.answered >= int(operand[0]), f"{operand[0]} answers given")
            elif step == "drip":
                while self.client.end is None:
                    self.client.send(b"x")
                    self.client.listen(0.1)
            elif step == "half-close":
                self.client.half_close()
            elif step == "close":
                self.client.close()
            elif step == "reset":
                self.client.reset()

    def read_responses(self, strict):
        if any(step in (("close",), ("reset",)) for step in self.case.send):
            return
        message = None
        for number, seen in enumerate(self.case.sees, 1):
            message = self.client.response(seen.method, partial="partial" in seen.kind)
            what = f"response {number}"
            if message is None:
                self.wrong.append(f"{what}: expected {seen.start}, but the connection is {self.client.end}")
                return
            self.claim(str(message.status) in seen.start.split("|"),
                       f"{what}: expected status {seen.start}, found {message.line}")
            self.claim(("whole" if message.complete else "partial") in seen.kind.split("|"),
                       f"{what}: is {'whole' if message.complete else 'cut off'}, should not")
            self.check_claims(what, message, seen)
            if strict:
                self.check_response(what, message)
        if self.case.raw is not None:
            self.client.wait_for(self.case.raw)
            self.claim(bytes(self.client.received) == self.case.raw,
                       f"in the tunnel: expected\n{show(self.case.raw)}\n  found\n"
                       f"{show(bytes(self.client.received))}")
            self.client.received.clear()
        self.check_end(message, strict)

    def check_end(self, last, strict):
        if self.case.then == "open":
            self.claim(not self.client.received, f"more bytes:\n{show(bytes(self.client.received))}")
            self.client.received.clear()
            host = self.case.host
            self.client.send(f"GET {Origin.PROBE} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            self.claim(self.client.response() is not None,
                       f"expected the connection open for another request, but it is {self.client.end}")
        elif self.case.then != "any":
            end = self.client.ended()
            self.claim(end in self.case.then.split(" or "), f"expected the connection {self.case.then}, it is {end}")
            self.claim(not self.client.received,
                       f"more bytes before the end:\n{show(bytes(self.client.received))}")
            says_end = last and last.complete and last.status != 101 and last.framing != "close"
            ours = ("half-close",) in self.case.send
            if strict and self.case.then == "closed" and says_end and not ours:
                self.claim("close" in last.tokens("Connection"),
                           "the last response on a closed connection lacks Connection: close (RFC 9112 §9.6)")

    def check_response(self, what, message):
        """What holds for every response a proxy sends, whatever the case."""
        self.claim(message.start[0] == "HTTP/1.1", f"{what}: version {message.start[0]} (RFC 9110 §6.2)")
        for name in HOP_BY_HOP:
            self.claim(not message.values(name), f"{what}: {name} is hop-by-hop (RFC 9110 §7.6.1)")
        allowed = {"close", "keep-alive"} | ({"upgrade"} if message.values("Upgrade") else set())
        self.claim(set(message.tokens("Connection")) <= allowed,
                   f"{what}: Connection: {message.value('Connection')}")
        if message.status >= 200:
            self.claim(len(message.values("Date")) == 1,
                       f"{what}: {len(message.values('Date'))} Date fields (RFC 9110 §6.6.1)")

    def check_claims(self, what, message, seen):
        for kind, name, text in seen.claims:
            found = {"field": http1.joined(message.fields, name), "trailer": http1.joined(message.trailers, name),
                     "body": message.body, "reason": str(message.start[2]),
                     "framing": message.framing, "connection": str(message.connection)}[kind.split()[-1]]
            label = f"{what}: {kind.split()[-1]}{' ' + name if name else ''}"
            if kind.startswith("no "):
                self.claim(found is None, f"{label} should not be there, found {found!r}")
            elif kind.startswith("regex "):
                subject = found.decode("latin-1") if isinstance(found, bytes) else found
                self.claim(subject is not None and re.search(text, subject, re.S),
                           f"{label}: expected /{text}/, found {subject!r}")
            else:
                wanted = text.decode("latin-1") if kind == "reason" else text
                self.claim(found == wanted, f"{label}\n      expected {short(wanted)}\n      found    {short(found)}")

    # The origin's side.

    def judge_origin(self, strict):
        self.origin.stop()
        self.dead.stop()
        requests = self.origin.requests
        for connection in self.origin.connections:
            self.claim(not connection.malformed,
                       f"origin, connection {connection.number}: malformed: {connection.malformed}")
        expected = self.case.gets
        if expected and expected[0].kind == "any":
            for message in requests:
                self.check_claims("a request at the origin", message, expected[0])
            return
        if expected and expected[0].kind == "never whole":
            self.claim(not any(message.complete for message in requests), "the origin got a whole request")
            return
        if not expected:
            extra = [connection for connection in self.origin.connections
                     if len(connection.received) > connection.parsed]
            self.claim(not requests and not extra, "the origin should get nothing")
            return
        self.claim(len(requests) == len(expected),
                   f"the origin should get {len(expected)} requests, got {len(requests)}")
        for number, (message, seen) in enumerate(zip(requests, expected), 1):
            what = f"request {number} at the origin"
            self.claim(message.line == seen.start,
                       f"{what}:\n      expected {short(seen.start)}\n      found    {short(message.line)}")
            self.claim(("whole" if message.complete else "partial") in seen.kind.split("|"),
                       f"{what}: is {'whole' if message.complete else 'cut off'}, should not")
            self.check_claims(what, message, seen)
            if strict:
                self.check_forwarded(what, message)
        if self.case.connections is not None:
            self.claim(len(self.origin.connections) == self.case.connections,
                       f"expected {self.case.connections} connections at the origin, "
                       f"found {len(self.origin.connections)}")
        if self.case.gets_raw is not None:
            tunnels = [bytes(connection.received[connection.tunnel:]) for connection in self.origin.connections
                       if connection.tunnel is not None]
            self.claim(tunnels == [self.case.gets_raw],
                       f"in the tunnel the origin should get {self.case.gets_raw!r}, got {tunnels}")

    def check_forwarded(self, what, message):
        """What holds for every request a proxy sends, whatever the case."""
        self.claim(message.start[2] == "HTTP/1.1", f"{what}: version {message.start[2]} (RFC 9110 §6.2)")
        self.claim(len(message.values("Host")) == 1, f"{what}: {len(message.values('Host'))} Host fields")
        for name in HOP_BY_HOP:
            self.claim(not message.values(name), f"{what}: {name} is hop-by-hop (RFC 9110 §7.6.1)")
        allowed = {"close", "keep-alive"} | ({"upgrade"} if message.values("Upgrade") else set())
        allowed |= {"te"} if message.tokens("TE") == ["trailers"] else set()
        self.claim(set(message.tokens("Connection")) <= allowed, f"{what}: Connection: {message.value('Connection')}")
        for name in ("Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP", "X-Request-Id"):
            self.claim(len(message.values(name)) == 1, f"{what}: {len(message.values(name))} fields {name}")

    def report(self):
        print(f"FAILED  {self.case.name}  ({self.case.where()}, RFC {self.case.rfc})")
        for text in self.wrong:
            print(f"  - {text}")
        print(f"  the client sent\n{show(bytes(self.sent))}")
        print(f"  the client got\n{show(bytes(self.client.transcript) if self.client else b'')}")
        print(f"    ({self.client.end or 'open' if self.client else 'no connection'})")
        for connection in self.origin.connections:
            print(f"  the origin got, connection {connection.number} ({connection.end})\n"
                  f"{show(bytes(connection.received))}")
        print()


def short(value):
    text = repr(value)
    return text if len(text) < 400 else f"{text[:200]}... {len(text)} characters"


def load(options):
    drafts = [draft for file in sorted(DATA.glob("*.case")) for draft in cases.read(file)]
    runs = []
    for number, draft in enumerate(drafts):
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"
        host = f"c{digits[number // 36]}{digits[number % 36]}.test"
        if options.only in draft[2] or options.only in draft[0].name:
            case = cases.build(draft, host)
            case.host = host
            tear = None if options.torn is None else harness.Tear(options.torn + number)
            runs.append(Run(case, tear))
    return runs


def start(options, directory, runs):
    hosts = [run.host_record(run.case.host) for run in runs]
    if options.proxy == "nginx":
        import nginx
        return nginx.Nginx(directory, hosts)
    return Proxyd(directory, hosts, **SETTINGS)


def main():
    def more(parser):
        parser.add_argument("--jobs", type=int, default=24, help="cases at a time")
        parser.add_argument("--torn", type=int, nargs="?", const=int(time.time()), metavar="SEED",
                            help="tear apart what is sent, at places that follow from SEED")
        parser.add_argument("--proxy", choices=["nginx"], help="another proxy in proxyd's place")
    options = harness.arguments(__doc__, more)
    runs = load(options)
    strict = options.proxy is None
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="proxycore-conformance-") as directory:
        pathlib.Path(directory).chmod(0o755)
        proxy = start(options, directory, runs)
        ending = None
        try:
            with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
                list(pool.map(lambda run: run.play(proxy.address, strict), runs))
            proxy.stop()
        except Failed as failure:
            ending = str(failure)
        finally:
            proxy.kill()
        for run in runs:
            run.judge_origin(strict)
        failed = [run for run in runs if run.wrong]
        for run in failed:
            run.report()
        if ending:
            print(f"FAILED  the proxy's end\n  {ending}")
        if options.keep:
            print(proxy.log())
    for run in failed:
        print(f"failed: {run.case.where()}: {run.case.name}: {run.wrong[0].splitlines()[0]}")
    if options.torn is not None:
        print(f"torn apart with seed {options.torn}")
    print(f"took {time.monotonic() - began:.1f} s")
    print(f"{len(runs) - len(failed) + (not ending)} passed, {len(failed) + bool(ending)} failed")
    return 1 if failed or ending or not runs else 0


if __name__ == "__main__":
    sys.exit(main())
