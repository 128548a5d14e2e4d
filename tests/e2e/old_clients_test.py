"""The lookup service answers the clients of older installations: nginx with Lua, as they speak.

Usage: old_clients_test.py --lookup-server PROGRAM
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import subprocess
import time

import harness
from client import fetch
from harness import LOOPBACK, PATIENCE, Tests, expect, free_port
from proxyd import Process

tests = Tests()
options = None

HOSTS = [
    {"host": "app.example.com", "ip": "10.0.0.5", "targetPort": "8080", "forcessl": "false"},
    {"host": "*.w.example.com", "ip": "10.0.0.6", "targetPort": "80", "is_wildcard": "true",
     "wildcard_status": "Done"},
    {"host": "*.only.example.com", "ip": "10.0.0.7", "targetPort": "80", "is_wildcard": "true",
     "wildcard_matchAny": "false"},
    {"host": "many.example.com", "ip": "10.0.0.8", "targetPort": "80", "targets": '["10.0.0.9:81"]',
     "ip_allow": '["10.0.0.0/8"]', "resp_headers": '{"x-a":"\u00e9"}'},
]

# The first client writes one object without a line end, waits for its time-out and takes what has come
# until then. The later one reads a line, and keeps its connection for the next request.
NGINX = """
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.log info;
events {{ worker_connections 1000; }}
http {{
  access_log off;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  server {{
    listen {address}:{port};
    location /first {{ content_by_lua_block {{
      local socket = ngx.socket.tcp()
      socket:settimeout(100)
      assert(socket:connect("unix:{socket}"))
      assert(socket:send('{{"domain":"' .. ngx.var.arg_name .. '"}}'))
      local all, why, part = socket:receive("*a")
      socket:close()
      ngx.print(all or part)
    }} }}
    location /later {{ content_by_lua_block {{
      local socket = ngx.socket.tcp()
      socket:settimeout(2000)
      assert(socket:connect("unix:{socket}"))
      ngx.header["X-Reused"] = socket:getreusedtimes()
      assert(socket:send('{{"domain":"' .. ngx.var.arg_name .. '"}}'))
      local line, why = socket:receive("*l")
      if not line then ngx.log(ngx.ERR, why) return ngx.exit(504) end
      socket:setkeepalive(10000, 10)
      ngx.print(line)
    }} }}
  }}
}}
"""

MODULES = "/usr/lib/nginx/modules"


class Service:
    """The service in a program of its own, and the old proxy that asks it."""

    def __init__(self, directory):
        self.socket = pathlib.Path(directory) / "lookup.socket"
        with open(pathlib.Path(directory) / "service.log", "wb") as log:
            self.process = subprocess.Popen([options.lookup_server, self.socket], text=True, cwd=directory,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        for host in HOSTS:
            self.process.stdin.write("\t".join(f"{name}={value}" for name, value in host.items()) + "\n")
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        expect(self.process.stdout.readline() == "ready\n", "the service starts")
        self.port = free_port()
        config = pathlib.Path(directory) / "nginx.conf"
        config.write_text(NGINX.format(modules=MODULES, directory=directory, address=LOOPBACK, port=self.port,
                                       socket=self.socket))
        expect(os.path.exists(f"{MODULES}/ngx_http_lua_module.so"), "Debian's libnginx-mod-http-lua is installed")
        self.nginx = Process(["nginx", "-p", directory, "-c", config], directory, "nginx",
                             ready=lambda: harness.accepts(self.port))

    def ask(self, client, name):
        """What that client reads."""
        response = fetch((LOOPBACK, self.port), "proxy.test", f"/{client}?name={name}")
        expect(response.status == 200, f"/{client}?name={name}: {response.status}\n{self.nginx.log()}")
        return response

    def hits(self):
        """Ends the service; what it told of wildcards."""
        said, _ = self.process.communicate(timeout=harness.PATIENCE)
        return said.splitlines()

    def stop(self):
        self.nginx.kill()
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@contextlib.contextmanager
def service(directory):
    running = Service(directory)
    try:
        yield running
    finally:
        running.stop()


def record(body):
    """A reply: one object, all of it texts."""
    read = json.loads(body)
    expect(isinstance(read, dict) and all(isinstance(value, str) for value in read.values()),
           f"all values of a reply are texts: {body}")
    return read


@tests("the first client gets the record, or {}, before its 100 ms are over")
def first_client(directory):
    with service(directory) as running:
        found = record(running.ask("first", "app.example.com").body)
        expect(found == {**HOSTS[0], "wildcard_parent": "app.example.com"}, found)
        expect(record(running.ask("first", "none.example.com").body) == {}, "a miss is an empty object")
        expect(record(running.ask("first", "w.example.com").body) == {}, "the base of a wildcard is none of it")


@tests("a later client reads a line at once, and asks again on the same connection")
def later_client(directory):
    with service(directory) as running:
        slowest = 0
        for turn in range(20):
            began = time.monotonic()
            response = running.ask("later", "none.example.com" if turn % 2 else "app.example.com")
            slowest = max(slowest, time.monotonic() - began)
            expect(record(response.body) == ({} if turn % 2 else {**HOSTS[0], "wildcard_parent": "app.example.com"}),
                   response.body)
        expect(int(response.value("x-reused")) >= 1, "the connection is used again")
        expect(slowest < PATIENCE / 2, f"one took {slowest:.1f} s")


@tests("names under a wildcard get its record, and are told to be written back")
def wildcard(directory):
    with service(directory) as running:
        for client in ("first", "later"):
            found = record(running.ask(client, f"{client}.w.example.com").body)
            expect(found == {**HOSTS[1], "wildcard_parent": "*.w.example.com"}, found)
        expect(record(running.ask("later", "any.only.example.com").body) == {},
               "a wildcard for defined names only answers no others")
        expect(running.hits() == ["hit first.w.example.com *.w.example.com",
                                  "hit later.w.example.com *.w.example.com"], "both hits are told")


@tests("lists and objects come as the JSON that is stored, whole")
def lists(directory):
    with service(directory) as running:
        found = record(running.ask("later", "many.example.com").body)
        expect(json.loads(found["targets"]) == ["10.0.0.9:81"], found)
        expect(json.loads(found["ip_allow"]) == ["10.0.0.0/8"], found)
        expect(json.loads(found["resp_headers"]) == {"x-a": "\u00e9"}, found)


@tests("many old clients at a time are all answered")
def many(directory):
    with service(directory) as running, concurrent.futures.ThreadPoolExecutor(16) as pool:
        def one(number):
            name = f"n{number}.w.example.com"
            return record(running.ask("first" if number % 4 == 0 else "later", name).body)

        answers = list(pool.map(one, range(400)))
        expect(all(answer.get("ip") == "10.0.0.6" for answer in answers), "every one got the wildcard's record")


if __name__ == "__main__":
    options = harness.arguments(__doc__, lambda parser: parser.add_argument("--lookup-server", required=True),
                                needs_proxyd=False)
    options.lookup_server = pathlib.Path(options.lookup_server).resolve()
    raise SystemExit(harness.run(tests, options))
