"""A stream of mirrored requests through the comparison and the noise, by a clock of its own.

``python -m tests.planted.stream`` runs all of it and prints the table of docs/parity.md: 400 mutants and more, up to
2,000 requests each, and unchanged twins over 100,000 requests.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from graft.mirroring.answers import Answer
from graft.mirroring.compare import Comparison
from graft.mirroring.last_answers import LastAnswers, input_of
from graft.mirroring.noise import Noise
from graft.mirroring.observation import observe
from graft.operations.switch import Switch
from graft.types import RouteKey
from graft.types import Side as Answering
from tests.planted.mutants import Mutant, mutants
from tests.planted.shapes import ITEMS, START, USERS, WEIGHTS, Reply, Request, Side
from tests.planted.sites import SHAPES

KEY = RouteKey("GET", "/thing/{id}")
A_SECOND = 20
"""Requests."""


@dataclass
class Report:
    requests: int = 0
    first: int | None = None
    """the number of the request after which the first difference was reported"""
    reported: int = 0
    untold: int = 0
    """comparisons that counted neither way"""
    what: str = ""


def answer(reply: Reply, side: Answering) -> Answer:
    headers = {"content-type": "application/json", **reply.headers}
    body = reply.body.encode() if isinstance(reply.body, str) else json.dumps(reply.body).encode()
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    pairs += [(b"set-cookie", cookie.encode()) for cookie in reply.cookies]
    return Answer(side, reply.status, tuple(pairs), body, 1.0)


def requests(seed: object) -> Iterator[Request]:
    chance = random.Random(repr(seed))
    now, number = START, 0
    while True:
        number += 1
        now += chance.expovariate(A_SECOND)
        yield Request(number, chance.choices(range(ITEMS), WEIGHTS)[0], chance.randrange(USERS), now)


def run(shape: str, mutant: Mutant | None, most: int, seed: object = 1, *, repeat: bool = True) -> Report:
    """Until the first difference is reported; of an unchanged twin, to the end. Unless they ``repeat``, each request
    has a query of its own."""
    native_side, legacy_side = Side(f"native {seed}"), Side(f"legacy {seed}")
    noise: Noise[int] = Noise()
    last = LastAnswers()
    comparison = Comparison.of(Switch())
    report = Report()
    for request in requests(seed):
        if request.number > most:
            break
        reply = SHAPES[shape](request, native_side)
        native = answer(mutant.apply(reply, request) if mutant else reply, Answering.NATIVE)
        legacy = answer(SHAPES[shape](request, legacy_side), Answering.LEGACY)
        query = b"" if repeat else b"_=%d" % request.number
        scope = {
            "path": f"/thing/{request.item}",
            "query_string": query,
            "headers": [(b"cookie", b"%d" % request.user)],
        }
        now = request.now + 0.05
        before = last.exchange(input_of(KEY, scope, b""), native, legacy, now)
        report.requests = request.number
        for settled in noise.take(KEY, observe(native, legacy, before, comparison), request.number, now):
            report.untold += bool(settled.untold)
            if settled.differences:
                report.reported += 1
                report.first = report.first or request.number
                report.what = report.what or f"{settled.differences[0].what}: {settled.differences[0]}"
        if mutant and report.first:
            break
    return report


def table(planted: list[Mutant], most: int, twin: int, shapes: list[str]) -> tuple[str, list[str]]:
    """The table as Markdown, and what went wrong."""
    found: defaultdict[str, list[int | None]] = defaultdict(list)
    wrong = []
    for mutant in planted:
        report = run(mutant.shape, mutant, most)
        found[mutant.kind].append(report.first)
        if report.first is None:
            wrong.append(f"not found in {most} requests: {mutant}")
            print(wrong[-1], file=sys.stderr, flush=True)
    lines = ["| kind of bug | planted | found | median, after requests | latest |", "| --- | --- | --- | --- | --- |"]
    for kind, after in sorted(found.items()):
        hits = [number for number in after if number is not None]
        middle = f"{median(hits):.0f}" if hits else "-"
        lines.append(f"| {kind} | {len(after)} | {len(hits)} | {middle} | {max(hits, default='-')} |")
    lines += ["", "| unchanged twin of | requests | unexplained differences |", "| --- | --- | --- |"]
    for shape in shapes:
        report = run(shape, None, twin // len(SHAPES), "twin")
        lines.append(f"| {shape} | {report.requests} | {report.reported} |")
        if report.reported:
            print(f"{shape}: {report}", file=sys.stderr, flush=True)
            wrong.append(f"cried wolf {report.reported} times, first at {report.first}: {shape}: {report.what}")
    return "\n".join(lines), wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=440)
    parser.add_argument("--most", type=int, default=2000)
    parser.add_argument("--twin", type=int, default=100_000)
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), help="twins of these alone")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started = time.monotonic()
    shown, wrong = table(mutants(options.seed, options.mutants), options.most, options.twin, options.shapes)
    print(shown)
    print(f"\n{time.monotonic() - started:.0f} s")
    print("\n".join(wrong) or "Everything was found, and nothing else.")


if __name__ == "__main__":
    main()
