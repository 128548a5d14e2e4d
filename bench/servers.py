"""The origin, the proxies that are compared and how each is started. Every proxy runs on the CPU of its
own, origin and load on another; each has one worker and forwards to the same origin."""

import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import time
import typing

HERE = pathlib.Path(__file__).resolve().parent
CPUS = sorted(os.sched_getaffinity(0))
LOAD_CPU, PROXY_CPU = CPUS[0], CPUS[-1]

# What Redis does for these is part of what they cost.
REDIS_USERS = ("nginx-lua", "proxyd-redis")
# nginx's buffers for bodies are 4 to 16 KiB by default; with 64 KiB it moves bodies far cheaper. Ratios
# are to the default, the variant shows what a reader who knows these settings would get.
NGINX_TUNED = """client_body_buffer_size 64k;
      proxy_buffer_size 64k;
      proxy_buffers 8 64k;
      proxy_busy_buffers_size 128k;"""


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def spawn(command, cpu, log):
    return subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log,
                            stderr=log, preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))


def tell_redis(path, process, command):
    """One command to a Redis that may just be starting."""
    deadline = time.monotonic() + 10
    text = f"*{len(command)}\r\n" + "".join(f"${len(part)}\r\n{part}\r\n" for part in command)
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
                probe.sendall(text.encode())
                reply = probe.recv(1000)
                if not reply.startswith(b":"):
                    raise RuntimeError(f"redis-server: {reply.decode().strip()}")
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("redis-server does not answer") from None
        time.sleep(0.01)


# What all clients offer, so that everybody does the same work.
OPENSSL = """openssl_conf = all
[all]
ssl_conf = tls
[tls]
system_default = offered
[offered]
Ciphersuites = TLS_AES_128_GCM_SHA256
CipherString = ECDHE-ECDSA-AES128-GCM-SHA256
Groups = X25519:P-256
"""


def speak_tls(connection):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection, server_hostname="bench.example.test")


def wait_for(port, process, name, seconds, tls=False):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode}")
        with socket.socket() as probe:
            # Who listens need not serve yet: a proxy may still be reading a million hosts.
            probe.settimeout(seconds)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                with speak_tls(probe) if tls else probe as asking:
                    asking.sendall(b"GET /1k HTTP/1.1\r\nHost: bench.example.test\r\nConnection: close\r\n\r\n")
                    if asking.recv(1):
                        return
        time.sleep(0.01)
    raise RuntimeError(f"{name} does not answer on port {port} after {seconds} s")


class Ports(typing.NamedTuple):
    """Where a proxy serves."""
    plain: int
    tls: int


class Bench:
    """Owns every process that is started and their directory."""

    def __init__(self, build, directory):
        self.build = build
        self.directory = pathlib.Path(directory)
        self.running = []
        self.started = {}
        self.redis = None  # (process, path of its socket)
        self.make_certificate()
        self.origin_port = free_port()
        self.start([self.program("origin"), self.origin_port], self.origin_port, "origin", LOAD_CPU)

    def program(self, name):
        return self.build / "bench" / f"bench_{name}"

    def make_certificate(self):
        """The one that all proxies present, with a key on P-256, and what clients offer."""
        self.chain, self.key = self.directory / "chain.pem", self.directory / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "30", "-subj", "/CN=bench.example.test", "-keyout", self.key, "-out", self.chain,
                        "-addext", "subjectAltName=DNS:bench.example.test,IP:127.0.0.1"],
                       check=True, capture_output=True)
        (self.directory / "both.pem").write_text(self.chain.read_text() + self.key.read_text())
        self.client_config = self.directory / "openssl.cnf"
        self.client_config.write_text(OPENSSL)

    def start(self, command, port, name, cpu=PROXY_CPU, seconds=10, tls=False):
        log_path = self.directory / f"{name}.log"
        with open(log_path, "ab") as log:
            process = spawn(command, cpu, log)
        self.running.append(process)
        try:
            wait_for(port, process, name, seconds, tls)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{log_path.read_text(errors='replace')[-2000:]}") from None
        return process

    def config(self, template, name, **values):
        text = (HERE / template).read_text()
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        path = self.directory / name
        path.write_text(text)
        return path

    def proxy(self, name):
        """(pid, Ports) of a proxy, started when first asked for."""
        if name not in self.started:
            self.started[name] = self.fresh(name)
        process, ports = self.started[name]
        return process.pid, ports

    def port(self, name, tls):
        ports = self.proxy(name)[1]
        return ports.tls if tls else ports.plain

    def client_env(self):
        """For every client: what it offers over TLS."""
        return {**os.environ, "OPENSSL_CONF": str(self.client_config)}

    def processes(self, name):
        """The process ids whose work counts as that of a proxy that was started."""
        pids = [self.started[name][0].pid]
        if name in REDIS_USERS:
            pids.append(self.redis[0].pid)
        return pids

    def redis_socket(self):
        """The socket of a Redis that has the one host of the benchmark, started when first asked for."""
        if self.redis is None:
            path = self.directory / "redis.sock"
            with open(self.directory / "redis.log", "ab") as log:
                process = spawn(["redis-server", "--port", "0", "--unixsocket", path, "--unixsocketperm", "777",
                                 "--save", "", "--appendonly", "no", "--dir", self.directory], PROXY_CPU, log)
            self.running.append(process)
            fields = ["host", "bench.example.test", "ip", "127.0.0.1", "targetPort", str(self.origin_port),
                      "forcessl", "false", "targetssl", "false", "is_cache", "false", "is_wildcard", "false",
                      "created_by", "bench", "created_on", "1795390256835", "updated_by", "__NONE__",
                      "updated_on", "1795390256835"]
            tell_redis(path, process, ["SADD", "proxy_Host", "bench.example.test"])
            tell_redis(path, process, ["HSET", "proxy_Host_bench.example.test", *fields])
            self.redis = process, path
        return self.redis[1]

    def fresh(self, name):
        """A new process of a proxy: (process, Ports)."""
        ports = port, tls_port = Ports(free_port(), free_port())
        common = {"PORT": port, "TLS_PORT": tls_port, "ORIGIN": self.origin_port, "DIR": self.directory}
        if name == "nginx-lua":
            config = self.config("nginx-lua.conf.in", f"{name}-{port}.conf", REDIS=self.redis_socket(), **common)
            command = ["nginx", "-p", self.directory, "-e", "stderr", "-c", config, "-g", "daemon off;"]
        elif name.startswith("nginx"):
            tuned = NGINX_TUNED if name == "nginx-tuned" else ""
            config = self.config("nginx.conf.in", f"{name}-{port}.conf", TUNED=tuned, **common)
            command = ["nginx", "-p", self.directory, "-e", "stderr", "-c", config,
                       "-g", "daemon off;"]
        elif name == "haproxy":
            command = ["haproxy", "-db", "-f", self.config("haproxy.cfg.in", f"{name}-{port}.cfg", **common)]
        elif name == "relay":
            command = [self.program("relay"), port, self.origin_port]
        elif name == "relay-close":
            command = [self.program("relay"), port, self.origin_port, "--close"]
        elif name == "relay-tls":
            command = [self.program("relay"), tls_port, self.origin_port, "--tls", self.chain, self.key]
            return self.start(command, tls_port, name, tls=True), ports
        elif name == "nghttpx":
            command = ["nghttpx", f"--frontend=127.0.0.1,{tls_port}", f"--backend=127.0.0.1,{self.origin_port}",
                       "--workers=1", "--conf=/dev/null", self.key, self.chain]
            return self.start(command, tls_port, name, tls=True), ports
        elif name in ("proxyd", "proxyd-million", "proxyd-redis"):
            declared = f"""[[host]]
host = "bench.example.test"
ip = "127.0.0.1"
targetPort = {self.origin_port}
forcessl = false"""
            store = "memory:"
            if name == "proxyd-million":
                store = self.million_hosts()
            elif name == "proxyd-redis":
                store, declared = f"redis+unix://{self.redis_socket()}", '[replica]\npath = ""'
            config = self.config("proxyd.toml.in", f"{name}-{port}.toml", STORE=store, HOST=declared, **common)
            command = [self.build / "apps/proxyd/proxyd", "--config", config]
            return self.start(command, port, name, seconds=60), ports
        else:
            raise RuntimeError(f"no proxy is called '{name}'")
        return self.start(command, port, name), ports

    def million_hosts(self):
        """The url of a store with a million hosts. Making it takes a while, so it is kept in the build
        directory; its hosts name a port, and there must be an origin of its own on that."""
        for path in self.build.glob("bench/million-*.db"):
            port = int(path.stem.split("-")[1])
            if path.stat().st_mtime > self.program("hosts").stat().st_mtime and is_free(port):
                break
            for part in self.build.glob(f"bench/{path.name}*"):
                part.unlink()
        else:
            port = free_port()
            path = self.build / f"bench/million-{port}.db"
            say("making a store with a million hosts, once")
            unfinished = self.directory / "unfinished.db"
            subprocess.run([self.program("hosts"), f"sqlite:{unfinished}", "1000000", str(port)], check=True)
            shutil.move(unfinished, path)
        self.start([self.program("origin"), port], port, "origin-million", LOAD_CPU)
        return f"sqlite:{path}"

    def stop(self, process):
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self):
        for process in reversed(self.running):
            if process.poll() is None:
                self.stop(process)


def missing(name, build):
    """Why a proxy cannot be run here, or None."""
    if name in REDIS_USERS and not shutil.which("redis-server"):
        return "redis-server is not installed"
    if name == "nginx-lua" and not pathlib.Path("/usr/lib/nginx/modules/ngx_http_lua_module.so").exists():
        return "nginx's Lua module (libnginx-mod-http-lua) is not installed"
    if name.startswith("nginx") and not shutil.which("nginx"):
        return "nginx is not installed"
    if name == "nghttpx" and not shutil.which("nghttpx"):
        return "nghttpx (nghttp2-proxy) is not installed"
    if name == "haproxy" and not shutil.which("haproxy"):
        return "haproxy is not installed"
    if name.startswith("proxyd") and not (build / "apps/proxyd/proxyd").exists():
        return "proxyd is not built"
    if name == "proxyd-million" and not (build / "bench/bench_hosts").exists():
        return "bench_hosts is not built"
    return None
