"""Observation: one pair of answers, compared with each other and with the last answers to the same input.

Pure: any thread. Equal bytes cost a comparison of bytes.
"""

from __future__ import annotations

import json
from collections import Counter

from graft.mirroring.answers import Answer
from graft.mirroring.bodies import Trees
from graft.mirroring.compare import OF_A_PLACE, Comparison, Difference, compare, varying
from graft.mirroring.last_answers import Answers
from graft.mirroring.noise_route import Observation
from graft.mirroring.paths import Path

NOT_MODIFIED = 304

SMALL = 2 * 1024
"""Bytes of JSON that take less time to parse than to hand to a thread."""


def agree(native: Answer, legacy: Answer, before: Answers | None, comparison: Comparison) -> bool:
    """Do both sides say the same, to the byte, and the same as the last time? Then there is nothing to look for."""
    if not _same(native, legacy, comparison):
        return False
    return before is None or (_same(native, before.native, comparison) and _same(legacy, before.legacy, comparison))


def observe(
    native: Answer, legacy: Answer, before: Answers | None, comparison: Comparison, again: Answer | None = None
) -> Observation:
    """``before`` are the last answers to the same input, ``again`` is a second answer of the legacy side, if asked."""
    native, legacy = _with_bodies(native, legacy, before)
    trees = Trees()
    differences = _compared(native, legacy, comparison, trees)
    if again is not None and again.status == legacy.status:
        return Observation(differences, _compared(legacy, again, comparison, trees))
    if before is None:
        return Observation(differences)
    legacy_itself = _with_itself(legacy, before.legacy, comparison, trees)
    native_itself = _with_itself(native, before.native, comparison, trees)
    behind = _agreeing(differences, legacy_itself, native, before.legacy, comparison, trees)
    ahead = _agreeing(differences, native_itself, before.native, legacy, comparison, trees)
    return Observation(differences, legacy_itself, native_itself, behind, ahead)


def _compared(one: Answer, other: Answer, comparison: Comparison, trees: Trees) -> tuple[Difference, ...]:
    return () if _same(one, other, comparison) else compare(one, other, comparison, trees)


def _same(one: Answer, other: Answer, comparison: Comparison) -> bool:
    """Equal bodies, and the compared headers too: others, each server writes as it likes."""
    if one.status != other.status or not (one.body == other.body or _same_json(one, other)):
        return False
    return one.headers == other.headers or _compared_headers(one, comparison) == _compared_headers(other, comparison)


def _same_json(one: Answer, other: Answer) -> bool:
    """Small JSON that says the same: the two frameworks order and space it differently. The loop can do that."""
    if len(one.body) > SMALL or len(other.body) > SMALL or not (one.body[:1] == other.body[:1] in (b"{", b"[")):
        return False
    try:
        here, there = json.loads(one.body), json.loads(other.body)
        return json.dumps(here, sort_keys=True) == json.dumps(there, sort_keys=True)
    except (ValueError, RecursionError):
        return False


def _compared_headers(answer: Answer, comparison: Comparison) -> list[tuple[bytes, bytes]]:
    names = comparison.names
    found = [(low, value) for name, value in answer.headers if (low := name.lower()) in names]
    # One side's server compresses, and says so each time: that is no reason to hand the answers to the thread.
    return sorted([pair for pair in found if pair[0] != b"vary" or varying(pair[1])])


def _with_itself(now: Answer, before: Answer, comparison: Comparison, trees: Trees) -> tuple[Difference, ...] | None:
    return _compared(now, before, comparison, trees) if now.status == before.status and now.error is None else None


def _agreeing(
    differences: tuple[Difference, ...],
    itself: tuple[Difference, ...] | None,
    native: Answer,
    legacy: Answer,
    comparison: Comparison,
    trees: Trees,
) -> frozenset[Path]:
    """Where a side changed since the last time, and one side's answer of then agrees with the other's of now.

    Two caches that are filled at different times look like this. A wrong value does not: the side that is right has to
    have changed just there, to or from the very value that the other gives.
    """
    changed = {each.path for each in itself or ()}
    wanted = {each.path for each in differences if each.path in changed}
    if not wanted or native.status != legacy.status:
        return frozenset()
    found = _compared(native, legacy, comparison, trees)
    full = {place for place, count in Counter(each.place for each in found).items() if count >= OF_A_PLACE}
    unsure = {each.path for each in differences if each.place in full}
    return frozenset(wanted - {each.path for each in found} - unsure)


def _with_bodies(native: Answer, legacy: Answer, before: Answers | None) -> tuple[Answer, Answer]:
    """The user's If-None-Match can be answered by 304 on the one side and by the whole page on the other: entity tags
    are each side's own. Then the last whole answer of the first is compared, if there is one; else there is nothing to
    compare, and nothing is wrong."""
    if {native.status, legacy.status} != {200, NOT_MODIFIED}:
        return native, legacy
    whole = legacy if native.status == NOT_MODIFIED else native
    known = None if before is None else before.native if native.status == NOT_MODIFIED else before.legacy
    known = known if known is not None and known.status == whole.status else whole
    return (known, legacy) if native.status == NOT_MODIFIED else (native, known)
