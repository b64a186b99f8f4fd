"""``python -m tests.deploy.storm [--kills 200] [--seconds 120] [--rate 200]``: nothing acknowledged is lost.

Workers are killed (SIGKILL) while clients read, write documents one by one and in bulk, start tasks, upload, stream and
flip a switch. An answer of 200 is an acknowledgement. At the end each acknowledged document, task, line and flip has to
be there; at each look on the way every file has to be whole; no process may be left. Exit code 1 when that is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tests.deploy.running import Site, site
from tests.parts import free_port

TOKEN = "the token of a storm, long enough"
ROUTE = "GET /both"
KINDS = ("document", "bulk", "task", "count", "native", "legacy", "both", "upload", "events", "stream")


@dataclass
class Outcome:
    """What came of it. ``lost`` names what was acknowledged and is not there; ``broken`` what was not whole."""

    kills: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    orphans: list[int] = field(default_factory=list)
    looks: int = 0

    @property
    def good(self) -> bool:
        return not (self.wrong or self.lost or self.broken or self.orphans)

    def __str__(self) -> str:
        lists = {"wrong": self.wrong, "lost": self.lost, "broken": self.broken, "orphans": self.orphans}
        faults = {name: found[:5] for name, found in lists.items() if found}
        return (
            f"{self.kills} kills, {sum(self.answers.values())} requests {dict(self.answers)}, acknowledged "
            f"{dict(self.acknowledged)}, {self.looks} looks at the files: {faults or 'nothing lost'}"
        )


class Storm:
    """One storm over a site that runs. ``folder`` has its files."""

    def __init__(self, process: Site, folder: Path, *, kills: int, seconds: float, rate: float, seed: int = 1) -> None:
        self.outcome = Outcome()
        self._process = process
        self._folder = folder
        self._kills = kills
        self._seconds = seconds
        self._rate = rate
        self._random = random.Random(seed)
        self._kept: dict[str, list[str]] = {"document": [], "task": [], "count": [], "flip": []}
        self._flips: list[int] = []  # acknowledged
        self._tried: list[int] = []  # since then
        self._ended = False

    async def run(self, progress: Callable[[int], None] = lambda kills: None) -> Outcome:
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
        key = {"Authorization": f"Bearer {TOKEN}"}
        base_url = f"http://{self._process.bind}"
        async with httpx.AsyncClient(base_url=base_url, timeout=20, limits=limits, headers=key) as client:
            self._client = client
            jobs = [self._flip(), self._look(), self._load()]
            tasks = [asyncio.create_task(job) for job in jobs]
            for _ in range(self._kills):
                await asyncio.sleep(self._seconds / self._kills)
                self._kill()
                progress(self.outcome.kills)
            self._ended = True
            await asyncio.gather(*tasks)
            await self._verify()
        return self.outcome

    def _kill(self) -> None:
        workers = sorted(self._process.workers())
        if workers:
            try:
                os.kill(self._random.choice(workers), signal.SIGKILL)
                self.outcome.kills += 1
            except ProcessLookupError:
                pass  # it is being replaced already

    # The clients.

    async def _load(self) -> None:
        begun, number, open_requests = time.monotonic(), 0, set[asyncio.Task[None]]()
        while not self._ended:
            task = asyncio.create_task(self._request(KINDS[number % len(KINDS)], f"n{number}"))
            open_requests.add(task)
            task.add_done_callback(open_requests.discard)
            number += 1
            await asyncio.sleep(max(begun + number / self._rate - time.monotonic(), 0))
        await asyncio.gather(*open_requests)

    async def _request(self, kind: str, name: str) -> None:
        try:
            status, kept = await self._ask(kind, name)
        except httpx.TransportError as error:
            self.outcome.answers[type(error).__name__] += 1  # its worker was killed: nothing was acknowledged
            if isinstance(error, httpx.TimeoutException):
                self.outcome.wrong.append(f"{kind} {name}: no answer")
            return
        self.outcome.answers[str(status)] += 1
        if status == 200:
            for each in kept:
                self._kept[kind if kind != "bulk" else "document"].append(each)
            self.outcome.acknowledged[kind] += 1
        elif status not in (502, 503):
            self.outcome.wrong.append(f"{kind} {name}: {status}")

    async def _ask(self, kind: str, name: str) -> tuple[int, list[str]]:
        client = self._client
        if kind in ("document", "bulk", "task"):
            answer = await client.post(f"/kept-{kind}/{name}")
            kept = answer.json().get("kept", []) if answer.status_code == 200 else []
            return answer.status_code, [kept] if isinstance(kept, str) else kept
        if kind == "count":
            return (await client.post("/count", content=name)).status_code, [name]
        if kind == "upload":
            body = name.encode() * 20_000
            answer = await client.post("/upload", content=body)
            if answer.status_code == 200 and answer.json()["size"] != len(body):
                self.outcome.wrong.append(f"upload {name}: {answer.json()['size']} of {len(body)} bytes")
            return answer.status_code, []
        path = {"events": "/native-events?wait=0.1", "stream": "/stream/20/5"}.get(kind, f"/{kind}")
        return (await client.get(path)).status_code, []

    async def _flip(self) -> None:
        share = 0
        while not self._ended:
            share = (share + 1) % 101
            self._tried.append(share)
            try:
                answer = await self._client.patch("/_graft/api/routes", json={"route": ROUTE, "share": share})
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue  # done or not: the next one decides
            if answer.status_code == 200:
                self._flips.append(share)
                self._tried.clear()
                self.outcome.acknowledged["flip"] += 1
            elif answer.status_code not in (502, 503):
                self.outcome.wrong.append(f"flip to {share}: {answer.status_code} {answer.text[:200]}")
            await asyncio.sleep(0.1)

    # The files.

    async def _look(self) -> None:
        while not self._ended:
            await asyncio.to_thread(self._look_once)
            await asyncio.sleep(0.2)

    def _look_once(self) -> None:
        self.outcome.looks += 1
        for path in [self._folder / "switches.toml", *(self._folder / "var").rglob("*")]:
            try:
                check = _CHECKS.get(path.suffix)
                if check is not None and path.is_file():
                    check(path)
            except FileNotFoundError:
                continue  # of a worker that has ended
            except Exception as error:
                self.outcome.broken.append(f"{path.name}: {type(error).__name__}: {error}")

    # The end.

    async def _verify(self) -> None:
        await self._until_it_answers()
        await self._missing("document", "/kept-found", lambda ids, answer: set(ids) - set(answer))
        await self._missing(
            "task", "/kept-known", lambda ids, states: {ids[n] for n in range(len(ids)) if not states[n]}
        )
        written = set((self._folder / "count").read_text().split())
        self.outcome.lost += [f"line {name}" for name in self._kept["count"] if name not in written]
        await self._verify_flips()
        self._look_once()

    async def _until_it_answers(self) -> None:
        for _ in range(600):
            try:
                if (await self._client.get("/native")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
        self.outcome.wrong.append("no answer any more, 30 s after the last kill")

    async def _missing(self, kind: str, path: str, missing: Callable[[list[str], Any], set[str]]) -> None:
        ids = self._kept[kind]
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            answer = await self._client.post(path, json=part)
            self.outcome.lost += [f"{kind} {name}" for name in missing(part, answer.json())]

    async def _verify_flips(self) -> None:
        if not self._flips:
            return
        answer = await self._client.get("/_graft/api/routes")
        (row,) = [row for row in answer.json()["routes"] if row["route"] == ROUTE]
        last = self._flips[-1]
        if row["share"] not in (last, *self._tried):  # one after it may have been done and not acknowledged
            self.outcome.lost.append(f"flip to {last}: the share is {row['share']}")
        history = (await self._client.get("/_graft/api/history", params={"route": ROUTE, "last": 1000})).json()
        told = json.dumps(history)
        if f'"share": {last:g}' not in told and f'"share": {float(last)}' not in told and str(last) not in told:
            self.outcome.lost.append(f"history of the flip to {last}")


def _check_sqlite(path: Path) -> None:
    # As its next user opens it: a log that a killed worker left half-way is recovered then, and "ro" may not do that.
    connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=10)
    try:
        answer = connection.execute("pragma quick_check").fetchone()[0]
        if answer != "ok":
            raise ValueError(answer)
    finally:
        connection.close()


def _check_lines(path: Path) -> None:
    for line in path.read_text().splitlines():
        json.loads(line)


_CHECKS: dict[str, Callable[[Path], object]] = {
    ".toml": lambda path: tomllib.loads(path.read_text()),
    ".json": lambda path: json.loads(path.read_text()),
    ".jsonl": _check_lines,
    ".sqlite3": _check_sqlite,
}


def storm(
    folder: Path, *, kills: int, seconds: float, rate: float, progress: Callable[[int], None] = lambda kills: None
) -> Outcome:
    """Start the site with three workers, have the storm, stop it, and look for what is left of it."""
    before = {process.pid for process in psutil.process_iter()}
    options = {"WEB_CONCURRENCY": "3", "GRAFT_ADMIN_TOKEN": TOKEN, "LOG_LEVEL": "warning"}
    with site(folder, f"127.0.0.1:{free_port()}", **options) as process:
        outcome = asyncio.run(Storm(process, folder, kills=kills, seconds=seconds, rate=rate).run(progress))
        family = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    outcome.orphans = [pid for pid in family if pid not in before and psutil.pid_exists(pid)]
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.storm", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    arguments = parser.parse_args()
    columns = (TextColumn("kills"), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeRemainingColumn())
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="graft-storm-") as folder, Progress(*columns, console=console) as bar:
        task = bar.add_task("storm", total=arguments.kills)
        outcome = storm(
            Path(folder),
            kills=arguments.kills,
            seconds=arguments.seconds,
            rate=arguments.rate,
            progress=lambda kills: bar.update(task, completed=kills),
        )
    print(outcome)
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
