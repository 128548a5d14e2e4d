"""What tools/run shows: a backend, proxyd in front of it with the manager and the lookup service inside, on a SQLite
store, and what to try.

Usage: demo.py PROXYD [PORT]
"""

import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading

HOST = "demo.localhost"  # browsers and curl take *.localhost to this machine by themselves


class Backend(http.server.BaseHTTPRequestHandler):
    """Tells the client what the proxy asked for, so that its work can be seen."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        lines = ["Hello from the backend behind proxyd. It was asked:", "", f"  {self.requestline}"]
        lines += [f"  {name}: {value}" for name, value in self.headers.items()]
        body = ("\n".join(lines) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass  # proxyd's access log says it


def free_port(wanted):
    """`wanted` where it can be had, else one that the system chooses."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return probe.getsockname()[1]
    sys.exit("no free port on 127.0.0.1")


def tell_of_password(lines):
    """Passes on what proxyd says; gives a function that waits for the one-time password in it."""
    found, known = [], threading.Event()

    def read():
        for line in lines:
            sys.stderr.write(line)
            sys.stderr.flush()
            if told := re.search(r"one-time password (\S+)", line):
                found.append(told[1])
                known.set()
        known.set()

    threading.Thread(target=read, daemon=True).start()

    def password():
        known.wait()
        return found[0] if found else sys.exit("proxyd told no password")
    return password


def wait_until_it_answers(proxyd, port):
    """Returns when something accepts on `port`; ends the program when proxyd ended instead."""
    while proxyd.poll() is None:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            proxyd.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            pass
    sys.exit(f"proxyd ended at once, with status {proxyd.returncode}")


def main():
    proxyd_path = sys.argv[1]
    port = free_port(int(sys.argv[2]) if len(sys.argv) > 2 else 8080)
    tls_port = free_port(8443 if port == 8080 else 0)
    manager_port = free_port(3000 if port == 8080 else 0)
    backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell has started us with SIGINT ignored
        signal.signal(number, signal.default_int_handler)

    with tempfile.TemporaryDirectory(prefix="proxycore-") as folder:
        config = os.path.join(folder, "proxyd.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"""[store]
url = "sqlite:{folder}/proxycore.db"
[listen]
http = ["127.0.0.1:{port}"]
https = ["127.0.0.1:{tls_port}"]
[lookup_service]
listen = "{folder}/lookup.socket"
[admin]
listen = ["127.0.0.1:{manager_port}"]
[renew]
key_file = "{folder}/proxycore.key"
[[host]]
host = "{HOST}"
ip = "127.0.0.1"
targetPort = {backend.server_port}
forcessl = false
""")
        # Its own process group: Ctrl-C comes here, and from here proxyd is told once.
        proxyd = subprocess.Popen([proxyd_path, "--config", config], start_new_session=True, stderr=subprocess.PIPE,
                                  text=True, errors="replace")
        password = tell_of_password(proxyd.stderr)
        try:
            wait_until_it_answers(proxyd, port)
            print(f"""
proxyd forwards {HOST} to a backend on port {backend.server_port}. Its configuration is {config}. Try:

  curl http://{HOST}:{port}/

or open that address in a browser. The same over TLS, with a certificate that proxyd has made for itself:

  curl --insecure https://{HOST}:{tls_port}/

The manager, to add hosts of your own, is at

  http://localhost:{manager_port}/

Log in as admin, with the password that was made for this run: {password()}

Ctrl-C ends all of them.
""", flush=True)
            proxyd.wait()
        except KeyboardInterrupt:
            print("\nEnding proxyd and the backend.", flush=True)
        finally:
            if proxyd.poll() is None:
                proxyd.terminate()
            status = proxyd.wait()
            backend.shutdown()
    sys.exit(status)


if __name__ == "__main__":
    main()
