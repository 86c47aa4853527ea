"""Looks at a running proxy: is it right, what do its requests cost, how much memory does it hold."""

import http.client
import re
import select
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from load import UNARY, WORKLOADS
from peers import BODIES, WEBSOCKET

# Connections that the script opens from one source address: less than its ports.
PER_ADDRESS = 20_000
# Of Linux, and of Python from 3.12 on: a port is chosen on connecting, else each `bind` searches for one.
IP_BIND_ADDRESS_NO_PORT = 24
# What is asked of a peer whose memory is looked at.
BUSY = next(workload for workload in WORKLOADS if workload.name == "get100-512")
ECHO = next(workload for workload in WORKLOADS if workload.scene == WEBSOCKET)


@dataclass(frozen=True)
class Sample:
    """One peer, one workload, one round. Times are in microseconds, `core` is the part of one core that was used."""

    cpu: float
    core: float
    rate: float
    errors: int
    p50: Optional[int]
    p99: Optional[int]


def exchange(process, scene, path):
    """One request on a connection of its own: POST has a body of 4 KiB."""
    if scene.clients == "h2c":
        return exchange_h2(process.port, path)
    if scene.clients == "https":
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", process.port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=5)
    try:
        if path == "/post":
            connection.request("POST", path, b"x" * 4096)
        else:
            connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def exchange_h2(port, path):
    """The body comes alone without -v, and the status only with it."""
    post = ["-d", "-"] if path == "/post" else []
    status = re.search(rb":status: (\d+)", nghttp("-nv", *post, port=port, path=path))
    return int(status[1]) if status else 0, nghttp(*post, port=port, path=path)


def nghttp(*flags, port, path):
    words = ["nghttp", "-t5", *flags, f"http://127.0.0.1:{port}{path}"]
    return subprocess.run([str(word) for word in words], input=b"x" * 4096, stdout=subprocess.PIPE).stdout


def check(process, scene, endpoints, load):
    """What is wrong with the peer's answers, or None."""
    if scene == WEBSOCKET:
        # The load knows what the echo has to be.
        found = load.figures(process.port, ECHO, 1)
        return None if found.requests and not found.errors else f"{found.errors} WebSockets without an echo"
    try:
        for path, length in BODIES.items():
            status, body = exchange(process, scene, path)
            if (status, len(body)) != (200, length):
                return f"{path} gives {status} and {len(body)} bytes"
        if scene.origin == "hyper" and (wrong := check_grpc(process.port, load.message)):
            return wrong
        if process.name == "hyper-alone":
            return None
        seen = [seen_by_endpoint(process, scene).decode().split() for _ in range(64)]
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"no answer: {error}"
    if {int(port) for port, *_ in seen} != set(endpoints):
        return "it does not use all endpoints"
    if process.name != "l4" and any(not right(process, client) for _, *client in seen):
        return "X-Forwarded-For is not the client's address"
    return None


def seen_by_endpoint(process, scene):
    """One request only: with two for each answer, proxies that go in turn would show half of the endpoints."""
    if scene.clients == "h2c":
        return nghttp(port=process.port, path="/seen")
    return exchange(process, scene, "/seen")[1]


def right(process, client):
    """Envoy gives the machine's own address for a client on the loopback device."""
    return client == ["127.0.0.1"] or process.name == "envoy" and len(client) == 1


def check_grpc(port, message):
    """The message comes back, and the status after it."""
    fields = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    answer = nghttp("-v", "-d", message, *fields, port=port, path=UNARY)
    if message.read_bytes() not in answer:
        return "a gRPC message does not come back"
    return None if b" grpc-status: 0\n" in answer else "a gRPC status does not come back"


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


def sample(load, process, workload, seconds):
    """After a second to warm up."""
    load.figures(process.port, workload, 1)
    time.sleep(0.1)
    before, start = cpu_time(process.pid), time.monotonic()
    found = load.figures(process.port, workload, seconds)
    cpu, wall = cpu_time(process.pid) - before, time.monotonic() - start
    requests = max(found.requests, 1)
    rate = requests * 1e6 / max(found.micros, 1)
    return Sample(cpu * 1e6 / requests, cpu / wall, rate, found.errors, found.p50, found.p99)


def busy_memory(load, process, seconds):
    """The most that is seen while 512 connections are busy."""
    with load.start(process.port, BUSY, seconds) as running:
        try:
            most = 0
            while running.poll() is None:
                most = max(most, memory(process.pid))
                time.sleep(0.2)
            return most
        finally:
            running.kill()


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
        # A proxy may give buffers back only when a connection has been idle for a moment.
        time.sleep(4)
        return memory(process.pid), count - len(poll.poll(0))
    finally:
        for client in clients:
            client.close()
