"""``minimum_should_match``: how many of so many optional clauses a document needs."""

from __future__ import annotations

import re
from typing import Any

from embedded_elasticsearch.errors import bad_request

_SIMPLE = re.compile(r"(-?\d+)(%?)")
_CONDITION = re.compile(r"(\d+)<(-?\d+%?)")


def required(given: Any, clauses: int) -> int:
    """Reads ``2``, ``-1``, ``"75%"``, ``"-25%"``, ``"3<90%"`` and ``"2<-25% 9<-3"``. Raises a 400 for anything else.

    The answer may be larger than ``clauses``, by one: then nothing matches.
    """
    text = str(given).strip() if isinstance(given, (int, str)) and not isinstance(given, bool) else ""
    simple = _SIMPLE.fullmatch(text)
    if simple is not None:
        return _count(simple, clauses)
    conditions = [_CONDITION.fullmatch(part) for part in text.split()]
    if not conditions or None in conditions:
        raise bad_request(f"[minimum_should_match] can't be read from [{given}]")
    return _conditional([match for match in conditions if match is not None], clauses)


def _conditional(conditions: list[re.Match[str]], clauses: int) -> int:
    """Up to the smallest bound all clauses are needed; above it, what the largest bound below says."""
    need = clauses
    for condition in conditions:
        if clauses <= int(condition[1]):
            break
        simple = _SIMPLE.fullmatch(condition[2])
        assert simple is not None
        need = _count(simple, clauses)
    return need


def _count(simple: re.Match[str], clauses: int) -> int:
    number = int(simple[1])
    if simple[2]:
        part = int(clauses * abs(number) / 100)
        number = part if number >= 0 else -part
    return min(max(0, clauses + number if simple[1].startswith("-") else number), clauses + 1)
