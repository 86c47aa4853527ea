"""The processes of the benchmark: the origin and the proxies, started and stopped."""

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass

import configs
from build import Missing, certificate

# In the order in which they take turns.
PEERS = ["gateway", "gateway-pgo", "axum-upstream", "nginx", "haproxy", "envoy", "traefik", "caddy", "l4", "hyper-alone",
         "axum-reverse-proxy", "pingora", "go"]
# Idle connections that a proxy may keep to each endpoint: the gateway's default, set for the others too.
IDLE_PER_ENDPOINT = 256
# The bodies that the origin has, by path.
BODIES = {"/100": 100, "/10k": 10 << 10, "/1m": 1 << 20, "/post": 3}


@dataclass(frozen=True)
class Scene:
    """What clients speak (http, https, h2c) and what endpoints do (http, h2c). Workers are those of each proxy."""

    name: str
    clients: str = "http"
    endpoints: str = "http"
    # nginx, or hyper where that cannot be it.
    origin: str = "nginx"
    workers: int = 1


HTTP = Scene("http")
TWO_WORKERS = Scene("2w", workers=2)
HTTPS = Scene("https", clients="https")
H2 = Scene("h2", clients="h2c")
H2_BOTH = Scene("h2-h2", clients="h2c", endpoints="h2c", origin="hyper")
WEBSOCKET = Scene("ws", origin="hyper")
SCENES = [HTTP, TWO_WORKERS, HTTPS, H2, H2_BOTH, WEBSOCKET]

# What keeps a peer from being in a scene.
UNABLE = {
    ("l4", HTTPS): "it copies bytes",
    ("l4", H2): "it copies bytes",
    ("go", H2): "the standard library has no HTTP/2 without TLS",
    ("go", H2_BOTH): "the standard library has no HTTP/2 without TLS",
    **{("axum-upstream", scene): "the gateway is measured" for scene in SCENES if scene != HTTPS},
}


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

    def wait_until_ready(self, seconds=10):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.child.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.02)
        raise Missing(f"{self.name} does not start: {self.log.read_text()[-500:].strip() or 'no message'}")


class Setting:
    """Where the processes of a scene are started: a folder for their files, the cores they are pinned to."""

    def __init__(self, folder, programs, files, scene):
        self.folder, self.programs, self.files, self.scene = folder, programs, files, scene
        cores = sorted(os.sched_getaffinity(0))
        # What has two workers is not pinned.
        self.proxy_core, self.load_core = (cores[0], cores[1]) if scene.workers == 1 else (None, None)
        self.endpoints = []
        if scene.clients == "https":
            certificate(folder)

    def nginx(self, name, port, core, workers, http):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        # As root its workers would have no right to this folder.
        user = "user root root;" if os.geteuid() == 0 else ""
        conf = configs.NGINX.format(folder=folder, user=user, workers=workers, files=self.files, http=http)
        (folder / "nginx.conf").write_text(conf)
        words = [self.programs["nginx"], "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]
        return Process(name, words, port, folder / "log", core)

    def origin(self):
        """One server with one worker on four ports. Proxies started after this have them as endpoints."""
        self.endpoints = free_ports(4)
        if self.scene.origin == "hyper":
            first, *others = [f"127.0.0.1:{port}" for port in self.endpoints]
            words = [self.programs["hyper-alone"], first, 1, *others]
            return Process("origin", words, self.endpoints[0], self.folder / "origin.log", self.load_core)
        folder = self.folder / "origin"
        folder.mkdir(exist_ok=True)
        for path in ("/10k", "/1m"):
            (folder / path[1:]).write_bytes(b"x" * BODIES[path])
        listen = " ".join(f"listen 127.0.0.1:{port};" for port in self.endpoints)
        http = configs.NGINX_ORIGIN.format(listen=listen, folder=folder, hundred="x" * BODIES["/100"])
        return self.nginx("origin", self.endpoints[0], self.load_core, 1, http)

    def proxy(self, name):
        """Starts a peer by its name."""
        if why := UNABLE.get((name, self.scene)):
            raise Missing(why)
        [port] = free_ports(1)
        # As answering by itself it has no endpoints; they would be addresses to listen on.
        addresses = [] if name == "hyper-alone" else [f"127.0.0.1:{endpoint}" for endpoint in self.endpoints]
        told = configs.Told(self.programs[name], port, self.scene, addresses, self.folder, self.files,
                            IDLE_PER_ENDPOINT)
        if name == "nginx":
            return self.nginx(name, port, self.proxy_core, self.scene.workers, configs.nginx_proxy(told))
        words, env = configs.BY_PEER.get(name, configs.of_rust)(told)
        return Process(name, words, port, self.folder / f"{name}.log", self.proxy_core, env)
