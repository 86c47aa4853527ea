"""The processes of the benchmark: the origin and the proxies, how each is configured and started, and stopped."""

import os
import signal
import socket
import subprocess
import time

from build import Missing

# In the order in which they take turns.
PEERS = ["gateway", "nginx", "haproxy", "l4", "hyper-alone", "axum-reverse-proxy", "pingora", "go"]
# Idle connections that a proxy may keep to each endpoint: the gateway's default, set for the others too.
IDLE_PER_ENDPOINT = 256
# The bodies that the origin has, by path.
BODIES = {"/100": 100, "/10k": 10 << 10, "/1m": 1 << 20, "/post": 3}

NGINX = """
daemon off; {user} pid {folder}/pid; error_log {folder}/error.log crit;
worker_processes {workers}; worker_rlimit_nofile {files};
events {{ worker_connections {files}; }}
http {{
    access_log off; keepalive_requests 1000000000; tcp_nopush on; sendfile on;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {http}
}}
"""

ORIGIN = """
    open_file_cache max=10; open_file_cache_valid 1h;
    server {{
        {listen} root {folder};
        location = /100 {{ return 200 "{hundred}"; }}
        location = /post {{ return 200 "ok\\n"; }}
        location = /seen {{ return 200 "$server_port $http_x_forwarded_for"; }}
    }}
"""

NGINX_PROXY = """
    upstream origin {{ {servers} keepalive {idle}; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} reuseport;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
"""

HAPROXY = """
global
    nbthread {workers}
    maxconn {files}
    no strict-limits
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 60s
    option forwardfor
    http-reuse always
frontend clients
    bind 127.0.0.1:{port}
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
    http-request set-header X-Forwarded-Proto http
    default_backend origin
backend origin
    balance roundrobin
    {servers}
"""


def free_ports(count):
    """Ports that nobody has now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Process:
    """A server in a process group of its own, which is killed at the end of a `with`."""

    def __init__(self, name, words, port, log, core=None, env=None):
        self.name, self.port, self.log = name, port, log
        words = [str(word) for word in words]
        if core is not None:
            words = ["taskset", "-c", str(core), *words]
        with open(log, "w") as out:
            self.child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          env=os.environ | (env or {}), start_new_session=True)
        self.pid = self.child.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()

    def wait_until_ready(self):
        end = time.monotonic() + 10
        while time.monotonic() < end and self.child.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.02)
        raise Missing(f"{self.name} does not start: {self.log.read_text()[-500:].strip() or 'no message'}")


class Setting:
    """Where processes are started: a folder for their files, workers per proxy, the cores they are pinned to."""

    def __init__(self, folder, programs, files, workers, pinned):
        self.folder, self.programs, self.files, self.workers = folder, programs, files, workers
        cores = sorted(os.sched_getaffinity(0))
        self.proxy_core, self.load_core = (cores[0], cores[1]) if pinned else (None, None)
        self.endpoints = []

    def nginx(self, name, port, core, workers, http):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        # As root its workers would have no right to this folder.
        user = "user root root;" if os.geteuid() == 0 else ""
        conf = NGINX.format(folder=folder, user=user, workers=workers, files=self.files, http=http)
        (folder / "nginx.conf").write_text(conf)
        words = [self.programs["nginx"], "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]
        return Process(name, words, port, folder / "log", core)

    def origin(self):
        """nginx with one worker on four ports. Proxies started after this have them as endpoints."""
        self.endpoints = free_ports(4)
        folder = self.folder / "origin"
        folder.mkdir(exist_ok=True)
        for path in ("/10k", "/1m"):
            (folder / path[1:]).write_bytes(b"x" * BODIES[path])
        listen = " ".join(f"listen 127.0.0.1:{port};" for port in self.endpoints)
        http = ORIGIN.format(listen=listen, folder=folder, hundred="x" * BODIES["/100"])
        return self.nginx("origin", self.endpoints[0], self.load_core, 1, http)

    def proxy(self, name):
        """Starts a peer by its name."""
        [port] = free_ports(1)
        core, workers, program = self.proxy_core, self.workers, self.programs[name]
        listen, log = f"127.0.0.1:{port}", self.folder / f"{name}.log"
        addresses = [f"127.0.0.1:{endpoint}" for endpoint in self.endpoints]
        if name == "nginx":
            servers = " ".join(f"server {address};" for address in addresses)
            idle = IDLE_PER_ENDPOINT * len(addresses)
            return self.nginx(name, port, core, workers, NGINX_PROXY.format(servers=servers, idle=idle, port=port))
        if name == "haproxy":
            servers = "\n    ".join(f"server s{n} {address}" for n, address in enumerate(addresses))
            conf = self.folder / "haproxy.cfg"
            conf.write_text(HAPROXY.format(workers=workers, files=self.files, port=port, servers=servers))
            return Process(name, [program, "-db", "-f", conf], port, log, core)
        if name == "gateway":
            upstreams = [word for address in addresses for word in ("--upstream", f"http://{address}")]
            words = [program, "--listen", listen, "--workers", workers, *upstreams]
            return Process(name, words, port, log, core, {"RUST_LOG": "warn"})
        if name == "go":
            return Process(name, [program, listen, *addresses], port, log, core, {"GOMAXPROCS": str(workers)})
        return Process(name, [program, listen, workers, *addresses], port, log, core)
