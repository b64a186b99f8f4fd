"""What a WebSocket of an untouched Flask app costs: under the gateway, under Gunicorn's threads, and in
simple-websocket alone, which both of them run.

``python -m benchmarks.websockets`` prints messages a second, the server's CPU time a message, and memory a connection,
of an echo with one worker each, and what gthread's are to them. All servers run at once and are asked in short turns by
one client: what else the machine does meets them alike, so each is compared with the gthread of the same round.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import psutil

TURN, CLIENTS, IDLE = 400, 8, 200
"""Messages of each client in a turn; those that talk, and those that are counted only."""
PEER = "gthread"
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


class Served:
    """One server and its clients, with what each round has measured."""

    def __init__(self, port: int, worker: psutil.Process) -> None:
        self._port = port
        self._worker = worker
        self._clients = [opened(port) for _ in range(CLIENTS)]
        self.rates: list[float] = []  # messages a second
        self.cpu: list[float] = []  # microseconds a message

    def take_turn(self) -> None:
        burned, begun = self._burned(), time.perf_counter()
        for _ in range(TURN):
            for client in self._clients:
                client.sendall(MESSAGE)
            for client in self._clients:
                left = ANSWER
                while left:
                    left -= len(client.recv(left))
        count = TURN * CLIENTS
        self.rates.append(count / (time.perf_counter() - begun))
        self.cpu.append((self._burned() - burned) / count * 1e6)

    def _burned(self) -> float:
        """CPU seconds of all its threads, by the clock that Linux has for each process: the tables count 10 ms only."""
        return time.clock_gettime(~self._worker.pid << 3 | 2)

    def kilobytes(self) -> float:
        """Of a connection."""
        before = self._worker.memory_info().rss
        idle = [opened(self._port) for _ in range(IDLE)]
        memory: int = self._worker.memory_info().rss - before
        for connection in (*self._clients, *idle):
            connection.close()
        return memory / IDLE / 1024


def main(seconds: float = 60.0) -> None:
    os.sched_setaffinity(0, CORES[-1:])
    with ExitStack() as stack:
        servers = {}
        for kind in SERVERS:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            servers[kind] = Served(*stack.enter_context(serving(kind, folder)))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for served in random.sample(list(servers.values()), len(servers)):
                served.take_turn()
        peer = servers[PEER]
        print(
            f"{'median of ' + str(len(peer.cpu)):14} {'messages/s':>10} {'x':>6} {'CPU us':>8} {'x':>6} {'KB/conn.':>9}"
        )
        for kind, served in servers.items():
            faster = median(own / its for own, its in zip(served.rates, peer.rates, strict=True))
            cheaper = median(its / own for own, its in zip(served.cpu, peer.cpu, strict=True))
            print(
                f"{kind:14} {median(served.rates):10.0f} {faster:6.3f} {median(served.cpu):8.1f} {cheaper:6.3f}"
                f" {served.kilobytes():9.1f}"
            )


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
