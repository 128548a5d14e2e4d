"""Debian's nginx in proxyd's place: to see what another proxy does with a case, and to prove the tests."""

import pathlib

import harness
from proxyd import Process

SERVER = """
  server {{
    listen {address}:{port}; server_name {host};
    location / {{
      proxy_pass http://{host}; proxy_http_version 1.1; proxy_request_buffering off; proxy_buffering off;
      proxy_set_header Host $http_host; proxy_set_header Connection ""; proxy_read_timeout 3s;
    }}
  }}
  upstream {host} {{ {servers} keepalive 4; }}"""

CONFIG = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.log info;
events {{ worker_connections 4000; }}
http {{
  access_log off; client_max_body_size 100000; client_header_timeout 3s; client_body_timeout 3s;
  large_client_header_buffers 4 16k; server_names_hash_max_size 4096;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  server {{ listen {address}:{port} default_server; return 404; }}
{servers}
}}
"""


class Nginx(Process):
    def __init__(self, directory, hosts):
        port = harness.free_port()
        self.address = harness.LOOPBACK, port
        servers = "".join(SERVER.format(
            address=harness.LOOPBACK, port=port, host=host["host"],
            servers="".join(f"server {target}; " for target in
                            [f"{host['ip']}:{host['targetPort']}", *host.get("targets", [])]))
            for host in hosts)
        config = pathlib.Path(directory) / "nginx.conf"
        config.write_text(CONFIG.format(directory=directory, port=port, servers=servers,
                                        address=harness.LOOPBACK))
        super().__init__(["nginx", "-p", directory, "-c", config], directory, "nginx",
                         ready=lambda: harness.accepts(port))

    def stop(self):
        self.signal(15)
        self.wait()
