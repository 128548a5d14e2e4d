"""Clients that speak TLS: connections of Python's ssl module, and `openssl s_client`."""

import contextlib
import re
import socket
import ssl
import subprocess

import http1
from certificates import authority, fingerprint, needs
from harness import PATIENCE, Failed, expect, show


def context(verify=True, **more):
    """How a client speaks: version (1.2 or 1.3), ciphers (of 1.2), alpn."""
    made = ssl.create_default_context(cafile=authority().root)
    if not verify:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if version := more.get("version"):
        made.minimum_version = made.maximum_version = {
            1.2: ssl.TLSVersion.TLSv1_2, 1.3: ssl.TLSVersion.TLSv1_3}[version]
    if ciphers := more.get("ciphers"):
        made.set_ciphers(ciphers)
    if alpn := more.get("alpn"):
        made.set_alpn_protocols(alpn)
    return made


def dial(address, name, how=None, source=None):
    """A connection whose handshake is done; an end without close_notify raises SSLEOFError."""
    plain = socket.create_connection(address, PATIENCE, source_address=(source, 0) if source else None)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return (how or context()).wrap_socket(plain, server_hostname=name, suppress_ragged_eofs=False)
    except BaseException:
        plain.close()
        raise


def connects(name, how=None):
    """What makes the connections of load.Load and load.WebSocket."""
    return lambda address, _patience: dial(address, name, how)


def shown(address, name, **how):
    """The fingerprint of the certificate that is presented for a name; None: the client tells none."""
    with dial(address, name, context(verify=False, **how)) as connection:
        return fingerprint(connection.getpeercert(True))


class TlsClient:
    """HTTP/1.1 over TLS, response by response."""

    def __init__(self, address, name, how=None, source=None):
        self.socket = dial(address, name, how, source)
        self.received = b""
        self.end = None  # "closed" (close_notify), "cut" (none) or "reset"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, host, target="/", method="GET", fields="", body=b""):
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.send(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}{length}\r\n".encode() + body)
        return self.response(method)

    def response(self, method="GET", partial=False):
        while True:
            message = http1.read_response(self.received, method, self.end is not None)
            if message and message.complete or self.end:
                break
            self._receive()
        expect(message and (message.complete or partial), f"{self.end} within a response:\n{show(self.received)}")
        self.received = self.received[message.size:]
        return message

    def _receive(self):
        try:
            part = self.socket.recv(65536)
            self.received += part
            self.end = None if part else "closed"
        except ssl.SSLEOFError:
            self.end = "cut"
        except ConnectionResetError:
            self.end = "reset"

    def ended(self):
        while self.end is None:
            self._receive()
        return self.end

    def close(self):
        self.socket.close()


def fetch_tls(address, host, target="/", **more):
    """One request on a connection of its own."""
    how, name = more.pop("how", None), more.pop("name", host)
    with TlsClient(address, name, how) as client:
        return client.ask(host, target, **more)


def serves(address, host, expected):
    """Whether a request now gets this body (text) or status (number), over a certificate that fits."""
    with contextlib.suppress(ssl.SSLCertVerificationError):
        response = fetch_tls(address, host)
        return expected in (response.status, response.body.decode())


class Session:
    """What `openssl s_client` said about one connection with one request."""

    def __init__(self, address, name, *options, host=None):
        needs("openssl", "openssl")
        command = ["openssl", "s_client", "-connect", f"{address[0]}:{address[1]}", "-CAfile", authority().root,
                   "-ign_eof", *(["-servername", name] if name else ["-noservername"]), *options]
        request = f"GET / HTTP/1.1\r\nHost: {host or name}\r\nConnection: close\r\n\r\n"
        done = subprocess.run([str(part) for part in command], input=request.encode(), capture_output=True,
                              timeout=PATIENCE, check=False)
        self.text = (done.stdout + done.stderr).decode(errors="replace")
        self.code = done.returncode
        self.answered = "HTTP/1.1 200" in self.text
        self.resumed = re.search(r"^Reused, ", self.text, re.M) is not None
        found = re.search(r"^Server public key is (\d+) bit", self.text, re.M)
        self.key_bits = int(found[1]) if found else None
        found = re.search(r"^Peer signature type: (\S+)", self.text, re.M)
        self.signature = found[1] if found else None

    def expect_answered(self, what):
        expect(self.code == 0 and self.answered, f"{what}:\n{self.text[-3000:]}")
        return self


def handshake_failure(address, name, *options):
    """The alert that ends a handshake which must not succeed."""
    session = Session(address, name, *options)
    if session.code == 0 or session.answered:
        raise Failed(f"a handshake with {options} succeeded:\n{session.text[-2000:]}")
    found = re.search(r"(alert [a-z ]+|wrong version number|unsupported protocol|no protocols available)", session.text)
    expect(found, f"no alert:\n{session.text[-2000:]}")
    return found[1]


def client_hello(name, how=None):
    """The first flight of a client: its bytes, and what goes on with the handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = (how or context()).wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read(), (client, incoming, outgoing)


