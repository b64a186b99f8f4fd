"""What a WebSocket of an untouched Flask app costs: under the gateway, under Gunicorn's threads, and in
simple-websocket alone, which both of them run.

``python -m benchmarks.websockets`` prints messages a second, the server's CPU time a message, and memory a connection,
of an echo with one worker each. The client is the same in every run, and one process.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROUNDS, CLIENTS, IDLE = 8, 8, 200
CORES = sorted(os.sched_getaffinity(0))
"""The server runs on the first, the clients on the last: its threads, fighting over the GIL across cores, would move
each figure by 2x between two runs."""
MESSAGE = b"\x81\xa0" + bytes(4) + b"x" * 32
ANSWER = 2 + 32
HANDSHAKE = (
    b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
APP = """
from flask import Flask
from flask_sock import Sock
app = Flask(__name__)
sock = Sock(app)

@sock.route("/echo")
def echo(ws):
    while True:
        ws.send(ws.receive())
"""
ALONE = """
import io, socket, sys, threading
from simple_websocket import ConnectionClosed, Server

def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lines = connection.recv(65536).decode().split("\\r\\n")
    pairs = (line.partition(": ")[::2] for line in lines[1:] if line)
    environ = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in pairs}
    environ |= {"REQUEST_METHOD": "GET", "PATH_INFO": "/echo", "werkzeug.socket": connection}
    ws = Server.accept(environ)
    try:
        while True:
            ws.send(ws.receive())
    except ConnectionClosed:
        pass

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=512)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""
SERVERS = {
    "gateway": ["gateway:app", "-k", "uvicorn.workers.UvicornWorker", "-c", "gunicorn.conf.py"],
    "gthread": ["echo:app", "-k", "gthread", "--threads", "1000"],
    "alone": [],
}


@contextmanager
def serving(kind: str, folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = Path(__file__).resolve().parents[1]
    for name in ("gateway.py", "gunicorn.conf.py"):
        (folder / name).write_bytes((root / name).read_bytes())
    (folder / "echo.py").write_text(APP)
    (folder / "alone.py").write_text(ALONE)
    (folder / "async_routes").mkdir(exist_ok=True)
    (folder / "async_routes" / "__init__.py").write_text("routes = []\n")
    environ = {**os.environ, "GRAFT_LEGACY": "echo:app", "PYTHONPATH": f"{folder}:{root}", "LOG_LEVEL": "error"}
    command = [sys.executable, "-m", "gunicorn", *SERVERS[kind], "-b", f"127.0.0.1:{port}", "-w", "1"]
    if kind == "alone":
        command = [sys.executable, "alone.py", str(port)]
    command = ["taskset", "-c", str(CORES[0]), *command]
    with subprocess.Popen(command, cwd=folder, env=environ, stderr=subprocess.DEVNULL) as master:
        try:
            opened(port).close()
            worker = next(iter(psutil.Process(master.pid).children()), psutil.Process(master.pid))
            yield port, worker
        finally:
            master.terminate()


def opened(port: int) -> socket.socket:
    """A WebSocket, once the server answers."""
    end = time.monotonic() + 30
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(HANDSHAKE)
            head = b""
            while b"\r\n\r\n" not in head:
                part = connection.recv(4096)
                if not part:
                    raise ConnectionError(head)
                head += part
            return connection
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def measure(kind: str, seconds: float) -> tuple[float, float, float]:
    """Messages a second, CPU microseconds a message, kilobytes a connection."""
    with tempfile.TemporaryDirectory() as name, serving(kind, Path(name)) as (port, worker):
        clients = [opened(port) for _ in range(CLIENTS)]
        cpu, begun, count = sum(worker.cpu_times()[:2]), time.monotonic(), 0
        while time.monotonic() < begun + seconds:
            for client in clients:
                client.sendall(MESSAGE)
            for client in clients:
                left = ANSWER
                while left:
                    left -= len(client.recv(left))
            count += len(clients)
        took, burned = time.monotonic() - begun, sum(worker.cpu_times()[:2]) - cpu
        before = worker.memory_info().rss
        idle = [opened(port) for _ in range(IDLE)]
        memory = (worker.memory_info().rss - before) / IDLE / 1024
        for connection in (*clients, *idle):
            connection.close()
        return count / took, burned / count * 1e6, memory


def main(seconds: float = 3.0) -> None:
    """The best of all rounds: other work on the machine makes each figure worse, never better."""
    os.sched_setaffinity(0, CORES[-1:])
    measured: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in SERVERS}
    for _ in range(ROUNDS):
        for kind, rounds in measured.items():
            rounds.append(measure(kind, seconds))
    print(f"{'':10} {'messages/s':>10} {'CPU us':>8} {'KB/conn.':>9}")
    for kind, rounds in measured.items():
        rates, cpu, memory = zip(*rounds, strict=True)
        print(f"{kind:10} {max(rates):10.0f} {min(cpu):8.1f} {min(memory):9.1f}")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
