"""Looks at a running proxy: is it right, what do its requests cost, how much memory does it hold."""

import http.client
import select
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from peers import BODIES

# Connections that the script opens from one source address: less than its ports.
PER_ADDRESS = 20_000
# Of Linux, and of Python from 3.12 on: a port is chosen on connecting, else each `bind` searches for one.
IP_BIND_ADDRESS_NO_PORT = 24

SCRIPT = """
{request}
function done(summary, latency)
    local e = summary.errors
    print(string.format("figures %d %d %d %d %d", summary.requests, summary.duration,
        e.connect + e.read + e.write + e.timeout + e.status, latency:percentile(50), latency:percentile(99)))
end
"""
POST = """wrk.method = "POST"\nwrk.body = string.rep("x", 4096)"""


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    path: str
    connections: int = 64
    workers: int = 1


WORKLOADS = [
    Workload("get100", "GET 100 B, 64 connections, 1 worker", "/100"),
    Workload("get100-512", "GET 100 B, 512 connections, 1 worker", "/100", connections=512),
    Workload("get10k", "GET 10 KiB, 64 connections, 1 worker", "/10k"),
    Workload("get1m", "GET 1 MiB, 64 connections, 1 worker", "/1m"),
    Workload("post4k", "POST 4 KiB, 64 connections, 1 worker", "/post"),
    Workload("get100-2w", "GET 100 B, 64 connections, 2 workers, nothing pinned", "/100", workers=2),
]


@dataclass(frozen=True)
class Sample:
    """One peer, one workload, one round. Times are in microseconds, `core` is the part of one core that was used."""

    cpu: float
    core: float
    rate: float
    p50: float
    p99: float
    errors: int


def exchange(port, path):
    """One request on a connection of its own: POST has a body of 4 KiB."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        if path == "/post":
            connection.request("POST", path, b"x" * 4096)
        else:
            connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def check(process, endpoints):
    """What is wrong with the peer's answers, or None."""
    try:
        for path, length in BODIES.items():
            status, body = exchange(process.port, path)
            if (status, len(body)) != (200, length):
                return f"{path} gives {status} and {len(body)} bytes"
        if process.name == "hyper-alone":
            return None
        seen = [exchange(process.port, "/seen")[1].decode().split() for _ in range(64)]
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error}"
    if {int(port) for port, *_ in seen} != set(endpoints):
        return "it does not use all endpoints"
    if process.name != "l4" and any(client != ["127.0.0.1"] for _, *client in seen):
        return "X-Forwarded-For is not the client's address"
    return None


def family(pid):
    """A process and its descendants."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold spaces.
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            pass  # it has ended meanwhile
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def cpu_time(pid):
    """Seconds that a process and its descendants have run, user and system, to the nanosecond."""
    tasks = [task for one in family(pid) for task in Path(f"/proc/{one}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def memory(pid):
    """KiB that are resident; pages that processes share are divided among them."""
    total = 0
    for one in family(pid):
        lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


class Load:
    """wrk with one thread, on the core that the origin has too."""

    def __init__(self, folder, core):
        self.core = core
        self.get, self.post = folder / "get.lua", folder / "post.lua"
        self.get.write_text(SCRIPT.format(request=""))
        self.post.write_text(SCRIPT.format(request=POST))

    def start(self, port, path, connections, seconds):
        pin = [] if self.core is None else ["taskset", "-c", str(self.core)]
        script = self.post if path == "/post" else self.get
        words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "-s", script]
        return subprocess.Popen([*pin, *words, f"http://127.0.0.1:{port}{path}"], stdout=subprocess.PIPE, text=True)

    def figures(self, *arguments):
        with self.start(*arguments) as wrk:
            try:
                out, _ = wrk.communicate()
            finally:
                wrk.kill()
        line = next(line for line in out.splitlines() if line.startswith("figures"))
        return [int(word) for word in line.split()[1:]]

    def sample(self, process, workload, seconds):
        arguments = (process.port, workload.path, workload.connections)
        self.figures(*arguments, 1)
        time.sleep(0.1)
        before, start = cpu_time(process.pid), time.monotonic()
        requests, micros, errors, p50, p99 = self.figures(*arguments, seconds)
        cpu, wall = cpu_time(process.pid) - before, time.monotonic() - start
        requests = max(requests, 1)
        return Sample(cpu * 1e6 / requests, cpu / wall, requests * 1e6 / micros, p50, p99, errors)

    def busy_memory(self, process, connections, seconds):
        """The most that is seen while all connections are busy."""
        with self.start(process.port, "/100", connections, seconds) as wrk:
            try:
                most = 0
                while wrk.poll() is None:
                    most = max(most, memory(process.pid))
                    time.sleep(0.2)
                return most
            finally:
                wrk.kill()


def idle_memory(process, count):
    """What is held with so many client connections open that have had one answer each; and how many are left."""
    request = b"GET /100 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    clients, poll = [], select.poll()
    try:
        for n in range(count):
            client = socket.socket()
            clients.append(client)
            client.settimeout(5)
            client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            client.bind((f"127.0.0.{2 + n // PER_ADDRESS}", 0))
            client.connect(("127.0.0.1", process.port))
            client.sendall(request)
            answer = b""
            while len(answer.partition(b"\r\n\r\n")[2]) < BODIES["/100"]:
                received = client.recv(4096)
                if not received:
                    raise ConnectionError(f"connection {n + 1} was closed")
                answer += received
            poll.register(client, select.POLLIN)
        time.sleep(0.5)
        return memory(process.pid), count - len(poll.poll(0))
    finally:
        for client in clients:
            client.close()
