"""``python -m tests.deploy.hostile [--inputs 5000]``: does any of it get in, and does any of it take others' time?

Inputs of every kind go straight at a worker, a hundred a second, while a bystander, a process of its own, asks both
sides fifty times a second. Nothing may open what is closed, answer 500, end a worker or be run as a request that was
hidden in another one. The table says how the bystander's p99 compares to an idle worker's, kind by kind; ``ordinary``
are as many requests that mean no harm. Exit code 1 when something got through, or when a kind made it more than twice
as long.

A rate, and not as fast as they go: a worker that is full is slow for everybody, whatever it is full of, and inputs that
cost 0.2 ms are over before a bystander has asked a dozen times. ``--rate 0`` sends them as fast as they go.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.deploy.running import Site, site
from tests.parts import free_port

TOKEN = "the-one-token-that-opens-it"
TWICE = 2.0
AT_ONCE = 4
"""Inputs at once where they have no rate."""
RATE = 100.0
"""Inputs of a kind in a second."""
SMUGGLED = b"GET /_graft/metrics HTTP/1.1\r\nHost: localhost\r\nX-Smuggled: yes\r\n\r\n"


FRAMES = [
    b"Content-Length: 5",
    b"Content-Length: 05",
    b"Content-Length: +5",
    b"Content-Length: 5, 5",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: chunked, gzip",
]
STARTS = [b"GET ", b"", b"\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\n", b"\x16\x03\x01", b"GET / HTTP/9.9\r\n", b"CONNECT a:1 "]
PIECES = [b"<input%20", b"a", b"a.", b"@", b"1-", b"ey", b"%22", b"a=b%26", b"://", b"0123456789", b"%20", b"((("]
STEPS = [b"/..%2f", b"/%2e%2e/", b"//", b"/%00", b"/%0a%0d", b"/%1b[31m", b"/\xff", b"/;x=", b"/%c0%ae", b"\\..\\"]


def _get(target: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: localhost", *headers, b"Connection: close", b"", b""])


def _post(target: bytes, body: bytes, *headers: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    head = [b"POST " + target + b" HTTP/1.1", b"Host: localhost", length, *headers, b"Connection: close", b"", b""]
    return b"\r\n".join(head) + body


def _upgrade(dice: random.Random) -> bytes:
    protocol = dice.choice([b"foo", b"h2c", b"TLS/1.2", b"websocket", b"websocketx", b"h2c, websocket"])
    body = b"\r\n" * dice.randrange(1, 5_000) + SMUGGLED
    head = [b"GET /native HTTP/1.1", b"Host: localhost", b"Upgrade: " + protocol, b"Connection: Upgrade"]
    return b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", b""]) + body


def _framing(dice: random.Random) -> bytes:
    chosen = dice.sample(FRAMES, dice.randrange(1, 4))
    return b"POST /legacy HTTP/1.1\r\nHost: localhost\r\n" + b"\r\n".join(chosen) + b"\r\n\r\n0\r\n\r\n" + SMUGGLED


def _lines(dice: random.Random) -> bytes:
    noise = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 400)))
    return dice.choice(STARTS) + noise + b"\r\n\r\n"


def _redaction(dice: random.Random) -> bytes:
    piece = dice.choice(PIECES)
    return _get(b"/echoed?x=" + piece * (30_000 // len(piece)), b"User-Agent: " + piece * 200)


def _forms(dice: random.Random) -> bytes:
    kind = dice.randrange(3)
    if kind == 0:
        return _post(b"/upload", b"[" * dice.randrange(1_000, 100_000), b"Content-Type: application/json")
    if kind == 1:
        body = b"&".join(b"k%d=v" % number for number in range(dice.randrange(1_000, 20_000)))
        return _post(b"/upload", body, b"Content-Type: application/x-www-form-urlencoded")
    part = b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n"
    return _post(b"/upload", part * dice.randrange(100, 3_000), b"Content-Type: multipart/form-data; boundary=b")


def _paths(dice: random.Random) -> bytes:
    return _get(b"/static" + dice.choice(STEPS) * dice.randrange(1, 200) + b"etc/passwd")


def _headers(dice: random.Random) -> bytes:
    kind = dice.randrange(4)
    if kind == 0:
        return _get(b"/legacy", *[b"X-%d: y" % number for number in range(dice.randrange(100, 3_000))])
    if kind == 1:
        return _get(b"/legacy", b"Cookie: " + b"session=" + b"e30." * dice.randrange(100, 10_000))
    if kind == 2:
        return _get(b"/native", b"X-Forwarded-For: " + b"1.2.3.4, " * dice.randrange(10, 5_000))
    return _get(b"/native", b"X-Request-ID: " + b"%0a\x1b[31m" * 20, b"Accept: " + b"text/html;q=0.1," * 1_000)


def _tokens(dice: random.Random) -> bytes:
    path = dice.choice([b"/_graft/metrics", b"/_graft/api/routes", b"/_graft/api/history", b"/_graft/api/differences"])
    guess = b"Authorization: Bearer " + TOKEN[: dice.randrange(len(TOKEN))].encode() + b"x"
    return _get(path, guess, b"X-Forwarded-For: 10.0.%d.%d" % (dice.randrange(256), dice.randrange(256)))


def _ordinary(dice: random.Random) -> bytes:
    return _get(dice.choice([b"/legacy", b"/native"]))


def _cut_off(dice: random.Random) -> bytes:
    whole = _post(b"/upload", b"x" * 200_000)
    return whole[: dice.randrange(1, len(whole) - 1)]


KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "ordinary": _ordinary, "upgrades": _upgrade, "framing": _framing, "broken lines": _lines, "redaction": _redaction,
    "forms": _forms, "paths": _paths, "headers": _headers, "wrong tokens": _tokens, "cut off": _cut_off,
}  # fmt: skip


WAITS = {"cut off": 0.02, "broken lines": 0.05, "framing": 0.1, "upgrades": 0.1}
"""Seconds until silence is the answer, where the server may rightly wait for more."""


@dataclass
class Outcome:
    """``p99`` of the bystander in seconds, and ``cpu``, the worker's seconds of an input, by kind; ``through``: what
    should not have happened."""

    sent: Counter[str] = field(default_factory=Counter)
    through: list[str] = field(default_factory=list)
    idle: float = 0.0
    p99: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    def slowed(self) -> list[str]:
        return [kind for kind, seconds in self.p99.items() if seconds > TWICE * self.idle]


class Campaign:
    def __init__(self, process: Site, inputs: int, rate: float, seed: int = 1) -> None:
        self.outcome = Outcome()
        self._rate = rate
        self._process = process
        self._port = int(process.bind.rpartition(":")[2])
        self._each = max(inputs // len(KINDS), 1)
        self._seed = seed

    async def run(self) -> Outcome:
        workers = self._process.workers()
        bystander = await Bystander.start(self._port)
        try:
            await asyncio.sleep(2)
            self.outcome.idle = await self._p99(bystander)
            for kind, make in KINDS.items():
                dice = random.Random(f"{kind} {self._seed}")
                inputs = [make(dice) for _ in range(self._each)]
                await self._p99(bystander)  # from here on
                before = self._worked()
                await self._send_all(kind, inputs)
                self.outcome.p99[kind] = await self._p99(bystander)
                self.outcome.cpu[kind] = (self._worked() - before) / self._each
        finally:
            await bystander.end()
        if self._process.workers() != workers:
            self.outcome.through.append("a worker ended")
        return self.outcome

    def _worked(self) -> float:
        """CPU seconds of the workers so far."""
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self._process.workers()]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")

    async def _p99(self, bystander: Bystander) -> float:
        seconds, wrong = await bystander.look()
        self.outcome.through += [f"the bystander got {answer}" for answer in wrong]
        return seconds

    async def _send_all(self, kind: str, inputs: list[bytes]) -> None:
        room = asyncio.Semaphore(len(inputs) if self._rate else AT_ONCE)
        begun = time.monotonic()
        async with asyncio.TaskGroup() as sending:
            for number, data in enumerate(inputs):
                if self._rate:
                    await asyncio.sleep(begun + number / self._rate - time.monotonic())
                sending.create_task(self._send(room, kind, data))

    async def _send(self, room: asyncio.Semaphore, kind: str, data: bytes) -> None:
        async with room:
            answer = await exchange(self._port, data, WAITS.get(kind, 1.0))
        self.outcome.sent[kind] += 1
        answers = answer.count(b"HTTP/1.1 ")
        if b"graft_requests" in answer or b'"routes"' in answer:
            self.outcome.through.append(f"{kind}: what is closed was opened by {data[:80]!r}")
        if b"HTTP/1.1 500" in answer:
            self.outcome.through.append(f"{kind}: 500 for {data[:80]!r}")
        refused = answer[9:12] in (b"400", b"501")  # what comes behind a request that is refused is nobody's
        if answers > 1 and (refused or kind == "upgrades"):
            self.outcome.through.append(f"{kind}: the request inside was run: {data[:80]!r}")


class Bystander:
    """Somebody who asks both sides fifty times a second, in a process of its own: what the attackers' inputs cost the
    one that sends them is not the server's."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @staticmethod
    async def start(port: int) -> Bystander:
        command = [sys.executable, "-m", "tests.deploy.hostile", "--bystander", str(port)]
        pipe = asyncio.subprocess.PIPE
        bystander = Bystander(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))
        await bystander.look()
        return bystander

    async def look(self) -> tuple[float, list[str]]:
        """The p99 since the last look in seconds, and the answers that were none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        seconds, wrong = json.loads(await self._process.stdout.readline())
        return seconds, wrong

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def stand_by(port: int) -> None:
    """What ``Bystander`` starts: a line in asks for a line out; it ends with its input."""
    with suppress(OSError):
        os.nice(-10)
    latencies: list[float] = []
    wrong: list[str] = []

    async def ask() -> None:
        while True:
            for path in (b"/native", b"/legacy"):
                begun = time.perf_counter()
                answer = await exchange(port, _get(path), 20)
                latencies.append(time.perf_counter() - begun)
                if not answer.startswith(b"HTTP/1.1 200"):
                    wrong.append(repr(answer[:60]))
            await asyncio.sleep(0.02)

    asking = asyncio.create_task(ask())
    while await asyncio.to_thread(sys.stdin.readline):
        p99 = statistics.quantiles(latencies, n=100)[98] if len(latencies) > 1 else 0.0
        print(json.dumps([p99, wrong]), flush=True)
        latencies.clear()
        wrong.clear()
    asking.cancel()


async def exchange(port: int, data: bytes, patience: float) -> bytes:
    """What comes back until the other end closes, or is silent for ``patience`` seconds."""
    answer = b""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(patience):
            while chunk := await reader.read(65_536):
                answer += chunk
    except (OSError, TimeoutError):
        pass
    finally:
        writer.transport.abort()
    return answer


def run(folder: Path, inputs: int, rate: float = 0) -> Outcome:
    (folder / "switches.toml").write_text('["GET /echoed"]\nshare = 50\nmirror = 100\n')
    options = {"WEB_CONCURRENCY": "1", "LOG_LEVEL": "critical", "GRAFT_LEGACY": "tests.deploy.site.hostile:app",
               "GRAFT_ADMIN_TOKEN": TOKEN, "GRAFT_MIRROR_BUDGET": "100"}  # fmt: skip
    with site(folder, f"127.0.0.1:{free_port()}", **options) as process:
        return asyncio.run(Campaign(process, inputs, rate).run())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.hostile", description=__doc__)
    parser.add_argument("--inputs", type=int, default=5_000)
    parser.add_argument("--rate", type=float, default=RATE, help="inputs a second (100); 0: as fast as they go")
    parser.add_argument("--only", nargs="*", help="kinds of inputs")
    parser.add_argument("--bystander", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bystander is not None:
        asyncio.run(stand_by(arguments.bystander))
        return 0
    for kind in list(KINDS):
        if arguments.only and kind not in arguments.only:
            del KINDS[kind]
    with tempfile.TemporaryDirectory(prefix="graft-hostile-") as folder:
        outcome = run(Path(folder), arguments.inputs, arguments.rate)
    table = Table("kind", "inputs", "worker's CPU an input", "bystander's p99", "of idle")
    for kind, seconds in outcome.p99.items():
        cpu = f"{outcome.cpu[kind] * 1000:.2f} ms"
        table.add_row(kind, str(outcome.sent[kind]), cpu, f"{seconds * 1000:.1f} ms", f"{seconds / outcome.idle:.2f}x")
    Console().print(table)
    through = outcome.through[:5] or "none"
    print(f"{outcome.sent.total()} inputs, idle p99 {outcome.idle * 1000:.1f} ms; through: {through}")
    return 1 if outcome.through or outcome.slowed() else 0


if __name__ == "__main__":
    sys.exit(main())
