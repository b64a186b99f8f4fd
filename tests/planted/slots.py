"""Slots: where the answers of an app differ by themselves, and what may stand there in one more answer of it.

A recording has one answer whole and some others to the same request as what they have instead. Where they differ,
a further answer gets a value of the same kind: a time as far from now as those were, a token of the same letters and
length, a number between the least and the greatest; or, of what is none of these, what one of the answers had. What
was the same at two slots in each answer is the same there again.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from itertools import takewhile
from typing import TypedDict

Change = tuple[int, int, str]
"""From where to where of the first answer, and what stands there instead."""

Draw = Callable[[random.Random, float], str]


class Recorded(TypedDict):
    path: str
    first: str
    at: list[float]
    """when each of the answers was given"""
    others: list[list[Change]]


class Template:
    """What answers to one request have in common, and its slots."""

    def __init__(self, recorded: Recorded) -> None:
        first, others = recorded["first"], recorded["others"]
        spans = _merged([(start, end) for changes in others for start, end, _ in changes])
        self._variants = len(others) + 1
        self._fixed: list[str] = []
        self._slots: list[tuple[str, ...]] = []
        done = 0
        for start, end in spans:
            self._fixed.append(first[done:start])
            self._slots.append((first[start:end], *(_instead(first, start, end, changes) for changes in others)))
            done = end
        self._fixed.append(first[done:])
        self._draws = {seen: draw for seen in set(self._slots) if (draw := _draw_of(seen, recorded["at"]))}
        """in the order of the slots: sets have another one in each process"""
        self._draws = {seen: self._draws[seen] for seen in dict.fromkeys(self._slots) if seen in self._draws}

    def answer(self, chance: random.Random, now: float) -> str:
        variant = chance.randrange(self._variants)
        drawn = {seen: draw(chance, now) for seen, draw in self._draws.items()}
        parts = [self._fixed[0]]
        for seen, fixed in zip(self._slots, self._fixed[1:], strict=True):
            parts += [drawn.get(seen, seen[variant]), fixed]
        return "".join(parts)


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        elif not merged or (start, end) != merged[-1]:
            merged.append((start, end))
    return merged


def _instead(first: str, start: int, end: int, changes: list[Change]) -> str:
    """What another answer has from ``start`` to ``end`` of the first one."""
    text, done = "", start
    for begin, stop, instead in changes:
        if start <= begin and stop <= end and (begin < end or start == end == begin):
            text += first[done:begin] + instead
            done = stop
    return text + first[done:end]


def _draw_of(seen: tuple[str, ...], at: list[float]) -> Draw | None:
    for known in (_time, _number, _token):
        draw = known(seen, at)
        if draw is not None:
            return draw
    return None


def _time(seen: tuple[str, ...], at: list[float]) -> Draw | None:
    if re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT", seen[0]):
        after = parsedate_to_datetime(seen[0]).timestamp() - at[0]
        return lambda chance, now: format_datetime(datetime.fromtimestamp(now + after, UTC), usegmt=True)
    if re.fullmatch(r"\d{4}-\d\d-\d\d[T ][\d:]{8}(\.\d+)?", seen[0]):
        after = datetime.fromisoformat(seen[0]).replace(tzinfo=UTC).timestamp() - at[0]
        mark, size = seen[0][10], len(seen[0])
        return lambda chance, now: (
            datetime.fromtimestamp(now + after, UTC).isoformat(mark, "microseconds").split("+")[0][:size]
        )
    return None


def _number(seen: tuple[str, ...], at: list[float]) -> Draw | None:
    if not all(re.fullmatch(r"(0|[1-9]\d*)(\.\d+)?", text) for text in seen):
        return None
    low, high = min(map(float, seen)), max(map(float, seen))
    decimals = [len(text.partition(".")[2]) for text in seen]
    if not any(decimals):
        return lambda chance, now: str(chance.randint(int(low), int(high)))
    return lambda chance, now: f"{chance.uniform(low, high):.{chance.choice(decimals)}f}"


def _token(seen: tuple[str, ...], at: list[float]) -> Draw | None:
    """Some letters are of the time, and so not drawn: those that all have in front."""
    before = "".join(letters[0] for letters in takewhile(lambda each: len(set(each)) == 1, zip(*seen, strict=False)))
    if len(set(map(len, seen))) > 1 or len(seen[0]) < 6 or not all(re.fullmatch(r"[\w-]+", text) for text in seen):
        return None
    used = set("".join(seen))
    letters = next(
        each
        for each in (string.digits, string.hexdigits[:16], string.ascii_letters + string.digits, None)
        if each is None or used <= set(each)
    )
    letters = letters or string.ascii_letters + string.digits + "-_"
    size = len(seen[0]) - len(before)
    return lambda chance, now: before + "".join(chance.choices(letters, k=size))
