"""The workloads, and the programs that make them: wrk, h2load, and ws-load, with one thread each."""

import re
import subprocess
import time
from dataclasses import dataclass
from typing import Optional

from peers import H2, H2_BOTH, HTTP, HTTPS, TWO_WORKERS, WEBSOCKET, Scene

WRK_SCRIPT = """
{request}
function done(summary, latency)
    local e = summary.errors
    print(string.format("figures %d %d %d %d %d", summary.requests, summary.duration,
        e.connect + e.read + e.write + e.timeout + e.status, latency:percentile(50), latency:percentile(99)))
end
"""
POST = """wrk.method = "POST"\nwrk.body = string.rep("x", 4096)"""
UNARY = "/grpc.Echo/Unary"
# A gRPC message has its length before it: here a field of bytes, of 100 in all.
MESSAGE = b"\0\0\0\0\x64" + b"\x0a\x62" + b"x" * 98


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    scene: Scene
    path: str
    connections: int = 64
    # Requests in flight on a connection.
    streams: int = 1


WORKLOADS = [
    Workload("get100", "GET 100 B, 64 connections, 1 worker", HTTP, "/100"),
    Workload("get100-512", "GET 100 B, 512 connections, 1 worker", HTTP, "/100", connections=512),
    Workload("get10k", "GET 10 KiB, 64 connections, 1 worker", HTTP, "/10k"),
    Workload("get1m", "GET 1 MiB, 64 connections, 1 worker", HTTP, "/1m"),
    Workload("post4k", "POST 4 KiB, 64 connections, 1 worker", HTTP, "/post"),
    Workload("get100-2w", "GET 100 B, 64 connections, 2 workers, nothing pinned", TWO_WORKERS, "/100"),
    Workload("https", "GET 100 B over TLS, 64 connections, 1 worker", HTTPS, "/100"),
    Workload("h2", "GET 100 B, HTTP/2 from clients, 8 connections with 8 streams, 1 worker", H2, "/100", 8, 8),
    Workload("h2-h2", "GET 100 B, HTTP/2 on both sides, 8 connections with 8 streams, 1 worker", H2_BOTH, "/100", 8, 8),
    Workload("grpc", "gRPC, unary, 100 B, 8 connections with 8 streams, 1 worker", H2_BOTH, UNARY, 8, 8),
    Workload("ws", "WebSocket, echo of 100 B, 64 connections, 1 worker", WEBSOCKET, "/ws"),
]


@dataclass(frozen=True)
class Figures:
    """What a load counts. Times are in microseconds; h2load knows no percentiles."""

    requests: int
    micros: int
    errors: int
    p50: Optional[int] = None
    p99: Optional[int] = None


class Load:
    """One of the programs, on the core that the origin has too."""

    def __init__(self, folder, core, ws_load):
        self.pin = [] if core is None else ["taskset", "-c", str(core)]
        self.ws_load = ws_load
        self.get, self.post, self.message = folder / "get.lua", folder / "post.lua", folder / "message"
        self.get.write_text(WRK_SCRIPT.format(request=""))
        self.post.write_text(WRK_SCRIPT.format(request=POST))
        self.message.write_bytes(MESSAGE)

    def start(self, port, workload, seconds):
        if workload.scene == WEBSOCKET:
            words = [self.ws_load, f"127.0.0.1:{port}", workload.connections, seconds]
        elif workload.scene.clients == "h2c":
            words = self.h2load(port, workload, seconds)
        else:
            script = self.post if workload.path == "/post" else self.get
            words = ["wrk", "-t1", f"-c{workload.connections}", f"-d{seconds}s", "--timeout", "5s", "-s", script,
                     f"{workload.scene.clients}://127.0.0.1:{port}{workload.path}"]
        words = [str(word) for word in words]
        return subprocess.Popen([*self.pin, *words], stdout=subprocess.PIPE, text=True)

    def h2load(self, port, workload, seconds):
        grpc = ["-d", self.message, "-H", "content-type: application/grpc", "-H", "te: trailers"]
        words = ["h2load", "-t1", f"-c{workload.connections}", f"-m{workload.streams}", f"-D{seconds}"]
        return [*words, *(grpc if workload.path == UNARY else []), f"http://127.0.0.1:{port}{workload.path}"]

    def figures(self, port, workload, seconds):
        """Runs it to its end."""
        start = time.monotonic()
        with self.start(port, workload, seconds) as load:
            try:
                out, _ = load.communicate()
            finally:
                load.kill()
        wall = int((time.monotonic() - start) * 1e6)
        return of_h2load(out, wall) if workload.scene.clients == "h2c" else of_line(out, wall)


def of_line(out, wall):
    """Those of wrk and ws-load."""
    if line := re.search(r"^figures (.*)$", out, re.MULTILINE):
        return Figures(*(int(word) for word in line[1].split()))
    return Figures(0, wall, 1)


def of_h2load(out, wall):
    """What is done has succeeded or is an error."""
    found = re.search(r"(\d+) done, (\d+) succeeded", out)
    took = re.search(r"finished in ([\d.]+)(m?)s", out)
    if not found or not took:
        return Figures(0, wall, 1)
    done, succeeded = (int(count) for count in found.groups())
    return Figures(succeeded, int(float(took[1]) * (1e3 if took[2] else 1e6)), done - succeeded)
