"""``python benchmarks/soak.py [--minutes 10]``: a long overload. Does memory stay flat, do native routes stay quick?

One worker with 16 threads and 64 places to wait gets some 250 slow legacy requests a second, where it can answer 80. A
second wrk asks a native route 200 times a second, before and all the while. When the load has ended, a client asks how
long it takes until legacy answers are prompt again. Exit code 1 when the worker's memory grew by more than 5% after the
warm-up.
"""

from __future__ import annotations

import argparse
import http.client
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.contenders import GRAFT
from benchmarks.load import Load, Sample, parse, wrk_running
from benchmarks.results import BenchmarkError
from benchmarks.servers import Server, serving
from benchmarks.settings import Settings, two_cores

INTERVAL = 30.0
"""Seconds from one line to the next; a tenth of a short run."""
WARM_UP = 60.0
"""Seconds of load before the memory counts, and a fifth of a short run: threads are made, caches and arenas fill."""
IDLE = 10.0
"""Seconds for which native routes are measured before the load."""
GROWTH = 0.05
TWICE = 2.0
PROMPT = 0.1
"""Seconds within which a legacy answer counts as prompt."""
IN_A_ROW = 20
WITHIN = 1.0
"""Seconds until normal service is back."""

# Clients that come back after 0.6 s, more or less, or they would all come at once. It counts by itself: wrk does not
# tell 503 from other errors.
SLOW = """
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() answered, refused, other = 0, 0, 0 end
function delay() return math.random(200, 1000) end
function response(status)
  if status == 200 then answered = answered + 1
  elseif status == 503 then refused = refused + 1
  else other = other + 1 end
end
function done()
  for _, thread in ipairs(threads) do
    print("counted " .. thread:get("answered") .. " " .. thread:get("refused") .. " " .. thread:get("other"))
  end
end
"""
OVERLOAD = Load("/sleep", connections=240, script=SLOW)
NATIVE = Load("/native", connections=4, script="function delay() return math.random(9, 29) end")


@dataclass(frozen=True)
class Counted:
    """What the slow legacy requests got: 200, 503 and anything else."""

    answered: int
    refused: int
    other: int

    @classmethod
    def read(cls, output: str) -> Counted:
        found = re.search(r"^counted (\d+) (\d+) (\d+)$", output, re.M)
        if found is None:
            raise BenchmarkError(f"wrk said: {output}")
        return cls(*(int(number) for number in found.groups()))

    @property
    def share(self) -> float:
        """Percent of them that were refused."""
        return 100 * self.refused / max(1, self.answered + self.refused + self.other)


@dataclass
class Soak:
    """What was seen. ``memory`` is (second of the load, resident bytes); times of native routes in milliseconds."""

    warm_up: float
    idle: float = 0.0
    loaded: list[float] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)
    counted: Counted = Counted(0, 0, 0)
    recovery: float = float("inf")

    @property
    def growth(self) -> float:
        """Of the memory, from the end of the warm-up to its largest; 0.01 is one percent."""
        after = [resident for second, resident in self.memory if second >= self.warm_up]
        return max(after) / after[0] - 1 if after else 0.0

    @property
    def ratio(self) -> float:
        """Native p99 under load to idle: the median of the lines, as a busy machine spoils one or the other."""
        return statistics.median(self.loaded) / self.idle


def main() -> int:
    arguments = _arguments()
    if shutil.which("wrk") is None:
        raise SystemExit("missing: wrk; see benchmarks/README.md")
    console = Console()
    settings = _settings(pin=not arguments.no_pin)
    soak = run(arguments.minutes * 60, settings, console)
    return report(soak, console)


def run(seconds: float, settings: Settings, console: Console) -> Soak:
    soak = Soak(warm_up=min(WARM_UP, seconds / 5))
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    with serving(GRAFT, settings) as server, Progress(*columns, console=console) as progress:
        task = progress.add_task("idle", total=IDLE + seconds)

        def advance(passed: float) -> None:
            progress.advance(task, passed)

        soak.idle = _native(server, settings, IDLE, advance).p99
        progress.update(task, description="overload")
        console.print(f"before: {_mib(server.worker.memory_info().rss)}, native p99 {soak.idle:.1f} ms")
        with wrk_running(server, OVERLOAD, settings, int(seconds)) as overload:
            _watch(soak, server, settings, seconds, console, advance)
            output, _ = overload.communicate()
        soak.recovery = seconds_until_prompt(server.port)
        soak.counted = Counted.read(output)
    return soak


def _watch(
    soak: Soak, server: Server, settings: Settings, seconds: float, console: Console, advance: Callable[[float], None]
) -> None:
    """A line an interval, until the load is about to end."""
    begun = time.monotonic()
    interval = min(INTERVAL, seconds / 10)
    for number in range(1, round(seconds / interval) + 1):
        # Whole seconds, a little less than there are: the last of these has to end before the load does.
        sample = _native(server, settings, begun + number * interval - time.monotonic() - 0.2, advance)
        second, resident = number * interval, server.worker.memory_info().rss
        soak.loaded.append(sample.p99)
        soak.memory.append((second, resident))
        note = " (warm-up)" if second < soak.warm_up else ""
        console.print(f"{second:5.0f} s: {_mib(resident)}, native p99 {sample.p99:.1f} ms{note}")


def _native(server: Server, settings: Settings, seconds: float, advance: Callable[[float], None]) -> Sample:
    with wrk_running(server, NATIVE, settings, max(1, int(seconds))) as process:
        begun = time.monotonic()
        while True:
            try:
                output, _ = process.communicate(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                advance(time.monotonic() - begun)
                begun = time.monotonic()
        advance(time.monotonic() - begun)
    return parse(output)


def seconds_until_prompt(port: int) -> float:
    """How long until a legacy route gives 200, some times in a row, each within 100 ms."""
    begun = since = time.monotonic()
    in_a_row = 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    while in_a_row < IN_A_ROW:
        asked = time.monotonic()
        connection.request("GET", "/small")
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200 and time.monotonic() - asked < PROMPT:
            in_a_row += 1
        else:
            in_a_row, since = 0, time.monotonic()
    connection.close()
    return since - begun


def report(soak: Soak, console: Console) -> int:
    """Prints how it went; the exit code."""
    counted = soak.counted
    console.print(
        f"\nlegacy: {counted.answered} answered, {counted.share:.0f}% refused with 503, {counted.other} others"
    )
    worst = f"at its worst {max(soak.loaded):.1f} ms"
    console.print(f"{_word(soak.ratio <= TWICE)} native p99: {soak.ratio:.2f} times idle (at most {TWICE:g}), {worst}")
    back = f"back to normal {soak.recovery:.2f} s after the load (at most {WITHIN:g})"
    console.print(f"{_word(soak.recovery <= WITHIN)} {back}")
    flat = soak.growth <= GROWTH
    console.print(f"{_word(flat)} memory after the warm-up: {100 * soak.growth:+.1f}% (at most {100 * GROWTH:g}%)")
    return 0 if flat else 1


def _word(met: bool) -> str:
    return "ok  " if met else "MISS"


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of overload (10)")
    parser.add_argument("--no-pin", action="store_true", help="let the system choose the cores")
    return parser.parse_args()


def _settings(*, pin: bool) -> Settings:
    cores = two_cores() if pin else None
    return Settings(1, 1) if cores is None else Settings(1, 1, *cores)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(f"it could not be measured: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
