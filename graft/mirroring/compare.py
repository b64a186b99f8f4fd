"""Compare: are two answers the same, and if not, where do they differ, and of what kind is each difference?

Equal bytes are equal without a parse. Else the status, the chosen headers, and the body by its kind: JSON by structure,
HTML by its elements, attributes and text, anything else as it is. JSON and HTML become the same kind of tree, so one
walk, one way to write a path and one kind of rule serve both. The walk goes to the end: of each place (its path with
indices and data keys made general) the first few differences are kept, so a place that differs in every row can not
hide another one. It is iterative and looks at each value once, so hostile answers cost no more than large ones.
(deepdiff was measured on 200 kB of JSON: 400 ms against 10 to 30 ms, and it can't do deep ones.) Any thread.
"""

from __future__ import annotations

import json
import marshal
import math
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from graft.mirroring.alike import alike_until
from graft.mirroring.answers import Answer
from graft.mirroring.bodies import Kind, Trees, decoded, kind_of
from graft.mirroring.cookies import Cookie, cookies_of
from graft.mirroring.natures import OTHER_TEXT, Nature, natures_of
from graft.mirroring.natures import Kind as NatureKind
from graft.mirroring.orders import order_of
from graft.mirroring.paths import DataKey, Path, Rules, is_table, pattern, written
from graft.mirroring.slices import checkpoint, in_slices
from graft.operations.switch import Switch
from graft.request_record import SESSION_NOT_SAVED

OF_A_PLACE = 20
"""Differences of one place that are kept: more of the same say nothing new."""

PLACES = 500
"""Places of one comparison that are kept."""

_Pairs = Iterator[tuple[Path, Any, Any]]
"""Parts of two trees that stand at the same place, and that place."""

_SHOWN = 200
_ABSENT = object()


class Change(StrEnum):
    CHANGED = "changed"
    MISSING = "missing"
    """the native answer lacks it"""
    EXTRA = "extra"
    """only the native answer has it"""
    LENGTH = "length"
    """arrays of different lengths"""
    ORDER = "order"
    """arrays of the same items in another order"""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two answers differ. Values are shortened; None is "not there"."""

    path: Path
    change: Change
    native: str | None
    legacy: str | None
    nature: Nature = OTHER_TEXT

    @property
    def place(self) -> str:
        """Where it is, in general."""
        return _shortened(pattern(self.path))

    @property
    def where(self) -> str:
        return _shortened(written(self.path))

    @property
    def what(self) -> str:
        """What it has in common with others: ``body.items[*].name changed``, ``status 500 instead of 200``."""
        if self.path == ("status",):
            return f"status {self.native} instead of {self.legacy}"
        return f"{self.place} {self.change}"


def signature(differences: tuple[Difference, ...]) -> str:
    """What groups one comparison with others that differ in the same way."""
    return "; ".join(sorted({each.what for each in differences}))


@dataclass(frozen=True)
class Comparison:
    """How the answers of one route are compared."""

    ignored: Rules
    unordered: Rules
    headers: tuple[str, ...]
    tolerance: float
    names: frozenset[bytes]
    """the headers that decide whether equal bodies are equal answers, in lower case"""

    @staticmethod
    def of(switch: Switch) -> Comparison:
        """That of the very same switch is kept: the hash of all that one says takes longer than to compare equal bytes.
        (any thread)"""
        kept = _comparisons.get(id(switch))
        if kept is None or kept[0] is not switch:
            if len(_comparisons) >= _MOST_COMPARISONS:
                _comparisons.clear()
            names = frozenset(name.encode() for name in switch.headers) | {_ENCODING}
            rules = Rules(switch.ignore), Rules(switch.unordered)
            kept = _comparisons[id(switch)] = switch, Comparison(*rules, switch.headers, switch.tolerance, names)
        return kept[1]


_comparisons: dict[int, tuple[Switch, Comparison]] = {}
"""By the identity of the switch, which is kept beside, so that no other one gets it. Any thread reads and writes each
entry as a whole."""

_MOST_COMPARISONS = 1000


def compare(
    native: Answer, legacy: Answer, comparison: Comparison, trees: Trees | None = None
) -> tuple[Difference, ...]:
    """Where the two differ; empty when they say the same. ``trees`` are those of earlier comparisons."""
    walk = _Walk(comparison)
    if native.status != legacy.status:
        walk.found(("status",), Change.CHANGED, native.status, legacy.status, Nature(NatureKind.STATUS))
    for name in comparison.headers:
        if name == "set-cookie":
            _compare_cookies(walk, cookies_of(native.headers), cookies_of(legacy.headers))
        elif name == "vary":
            unsaved = any(map(_is_session_unsaved, (native, legacy)))
            _compare_header(walk, name, *(varying(each.header(b"vary"), unsaved) for each in (native, legacy)))
        else:
            _compare_header(walk, name, native.header(name.encode()), legacy.header(name.encode()))
    _compare_bodies(walk, native, legacy, trees or Trees())
    return tuple(walk.differences)


def _compare_header(walk: _Walk, name: str, native: bytes | None, legacy: bytes | None) -> None:
    if native == legacy:
        return
    here, there = (None if value is None else value.decode("latin-1") for value in (native, legacy))
    if here is None or there is None:
        change = Change.MISSING if here is None else Change.EXTRA
        walk.found(("header", name), change, _ABSENT if here is None else here, _ABSENT if there is None else there)
    elif _NORMAL.get(name, _as_it_is)(here) != _NORMAL.get(name, _as_it_is)(there) and not _same_place(
        name, here, there
    ):
        walk.found(("header", name), Change.CHANGED, here, there)


def varying(value: bytes | None, unsaved: bool = False) -> bytes | None:
    """What an answer says that it depends on. Its encoding is often another layer's matter, and each cache's; of a
    mirrored run's session that is not saved, nobody knows what its interface would have said."""
    names = {part.strip().lower() for part in (value or b"").split(b",")} - {b"accept-encoding", b""}
    return b", ".join(sorted(names - {b"cookie"} if unsaved else names)) or None


def _is_session_unsaved(answer: Answer) -> bool:
    return SESSION_NOT_SAVED.encode() in (answer.header(b"set-cookie") or b"")


def _compare_cookies(walk: _Walk, native: dict[str, Cookie], legacy: dict[str, Cookie]) -> None:
    """Each cookie by its name: its attributes, and its value by its structure where it is a signed session."""
    for name in sorted(native.keys() | legacy.keys()):
        path, here, there = ("header", "set-cookie", name), native.get(name), legacy.get(name)
        if any(cookie is not None and cookie.value == SESSION_NOT_SAVED for cookie in (here, there)):
            continue
        if here is None:
            walk.found(path, Change.MISSING, _ABSENT, there.value if there else "")
        elif there is None:
            walk.found(path, Change.EXTRA, here.value, _ABSENT)
        else:
            walk((*path, "attributes"), here.attributes, there.attributes)
            if here.value != there.value:
                walk((*path, "value"), here.content, there.content)


def _as_it_is(value: str) -> str:
    return value.strip()


def _without_case_and_space(value: str) -> str:
    return value.lower().replace(" ", "")


def _sorted_list(value: str) -> str:
    return ",".join(sorted(part.strip().lower() for part in value.split(",")))


_NORMAL = {
    "content-type": _without_case_and_space,
    "cache-control": _sorted_list,
    "allow": _sorted_list,
    "access-control-allow-methods": _sorted_list,
    "access-control-allow-headers": _sorted_list,
    "access-control-expose-headers": _sorted_list,
}


def _same_place(name: str, native: str, legacy: str) -> bool:
    """``/x`` and ``http://host/x`` lead to the same place: Flask writes the one, Starlette the other."""
    if name != "location" or (_is_absolute(native) == _is_absolute(legacy)):
        return False
    return _path_of(native) == _path_of(legacy)


def _is_absolute(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _path_of(url: str) -> str:
    return "/" + url.split("/", 3)[-1] if _is_absolute(url) and url.count("/") > 2 else url


def _compare_bodies(walk: _Walk, native: Answer, legacy: Answer, trees: Trees) -> None:
    if native.body == legacy.body and native.header(_ENCODING) == legacy.header(_ENCODING):
        return
    here, there = decoded(native), decoded(legacy)
    if here == there or walk.comparison.ignored.cover(("body",)):
        return
    kind = kind_of(legacy)
    if kind is kind_of(native) and kind is not Kind.BYTES:
        try:
            walk(("body",), trees.of(kind, here), trees.of(kind, there))
            return
        except (ValueError, RecursionError):  # it is not what it says it is
            pass
    natures = natures_of(here.decode("latin-1"), there.decode("latin-1")) if _is_text(legacy) else (OTHER_TEXT,)
    walk.found(("body",), Change.CHANGED, _around(here, there), _around(there, here), *natures)


_ENCODING = b"content-encoding"


def _is_text(answer: Answer) -> bool:
    return (answer.header(b"content-type") or b"").startswith((b"text/", b"application/javascript"))


def _around(body: bytes, other: bytes) -> str:
    """The body from a little before the first byte that differs."""
    first = alike_until(body, other)
    return (
        f"{len(body)} bytes, from {first}: {body[max(0, first - 20) : first + _SHOWN // 2].decode('utf-8', 'replace')}"
    )


class _Walk:
    """Goes through two trees side by side. ``differences`` fills up while it does."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.differences: list[Difference] = []
        self._of_place: Counter[tuple[str, Change]] = Counter()

    def found(self, path: Path, change: Change, native: object, legacy: object, *natures: Nature) -> None:
        if self.comparison.ignored.cover(path):
            return
        place = pattern(path), change
        seen = self._of_place[place]
        if seen >= OF_A_PLACE or (not seen and len(self._of_place) > PLACES):
            return
        self._of_place[place] = seen + 1
        known = _NATURES.get(change)
        here, there = _shown(native), _shown(legacy)
        for nature in natures or ((known,) if known else natures_of(native, legacy)):
            self.differences.append(Difference(path, change, here, there, nature))

    def __call__(self, path: Path, native: Any, legacy: Any) -> None:
        levels = [iter([(path, native, legacy)])]  # what is left of each level: no list of all pairs of a large array
        while levels:
            checkpoint()
            pair = next(levels[-1], None)
            if pair is None:
                levels.pop()
                continue
            path, native, legacy = pair
            if len(path) in _SKIPPED_AT and isinstance(legacy, dict | list) and _identical(native, legacy):
                continue
            if isinstance(native, dict) and isinstance(legacy, dict):
                levels.append(self._members(path, native, legacy))
            elif isinstance(native, list) and isinstance(legacy, list):
                levels.append(self._items(path, native, legacy))
            elif not self._same(native, legacy):
                self.found(path, Change.CHANGED, native, legacy)

    def _members(self, path: Path, native: dict[str, Any], legacy: dict[str, Any]) -> _Pairs:
        step = DataKey if is_table(native, legacy) else str
        for name in in_slices(sorted(native.keys() ^ legacy.keys())):
            if name in native:
                self.found((*path, step(name)), Change.EXTRA, native[name], _ABSENT)
            else:
                self.found((*path, step(name)), Change.MISSING, _ABSENT, legacy[name])
        return (((*path, step(name)), native[name], value) for name, value in legacy.items() if name in native)

    def _items(self, path: Path, native: list[Any], legacy: list[Any]) -> _Pairs:
        if self.comparison.unordered.name(path):
            native, legacy = self._rest(path, native, legacy)
        elif len(legacy) > 1 and len(path) <= _DEEPEST:
            aligned = self._aligned(path, native, legacy)
            if aligned is not None:
                return aligned
        if len(native) != len(legacy):
            if not self.comparison.ignored.cover((*path, 0)):
                self.found(path, Change.LENGTH, f"{len(native)} items", f"{len(legacy)} items")
            return iter(())
        return (((*path, index), *pair) for index, pair in enumerate(zip(native, legacy, strict=True)))

    def _aligned(self, path: Path, native: list[Any], legacy: list[Any]) -> _Pairs | None:
        """The items of both sides by what identifies them, where something does and their order is not the same.

        So rows in another order, or with one row more, are one difference, and every row is still compared.
        """
        here, there = identified(native), identified(legacy)
        if here is None or there is None:
            if len(native) == len(legacy) and _same_items(native, legacy):
                self._found_order(path, native, legacy)
                return iter(())
            return None
        common = [key for key in there if key in here]
        if list(here) == list(there) or len(common) * 2 < len(there):
            return None
        if [key for key in here if key in there] != common:
            self._found_order(path, native, legacy)
        if len(native) != len(legacy) and not self.comparison.ignored.cover((*path, 0)):
            self._found_length(path, native, legacy)
        for key in in_slices(here.keys() - there.keys()):
            self.found((*path, here[key]), Change.EXTRA, native[here[key]], _ABSENT)
        for key in in_slices(there.keys() - here.keys()):
            self.found((*path, there[key]), Change.MISSING, _ABSENT, legacy[there[key]])
        return (((*path, there[key]), native[here[key]], legacy[there[key]]) for key in common)

    def _found_length(self, path: Path, native: list[Any], legacy: list[Any]) -> None:
        here, there = len(native), len(legacy)
        nature = Nature(NatureKind.LENGTH, values=(here, there))
        self.found(path, Change.LENGTH, f"{here} items", f"{there} items", nature)

    def _found_order(self, path: Path, native: list[Any], legacy: list[Any]) -> None:
        if not self.comparison.ignored.cover((*path, 0)):
            self.found(path, Change.ORDER, _first(native), _first(legacy), order_of(native, legacy))

    def _rest(self, path: Path, native: list[Any], legacy: list[Any]) -> tuple[list[Any], list[Any]]:
        """The items that have no equal on the other side, in an order that brings alike ones together."""
        here = sorted((self._canonical((*path, 0), item), index) for index, item in enumerate(native))
        there = sorted((self._canonical((*path, 0), item), index) for index, item in enumerate(legacy))
        left, right = [text for text, _ in here], [text for text, _ in there]
        common = _common(left, right)
        return (
            [native[index] for text, index in here if not _taken(common[0], text)],
            [legacy[index] for text, index in there if not _taken(common[1], text)],
        )

    def _canonical(self, path: Path, item: Any) -> str:
        checkpoint()
        return json.dumps(self._without_ignored(path, item), sort_keys=True)

    def _without_ignored(self, path: Path, item: Any) -> Any:
        if self.comparison.ignored.cover(path):
            return None
        if isinstance(item, dict):
            return {name: self._without_ignored((*path, name), value) for name, value in item.items()}
        if isinstance(item, list):
            return [self._without_ignored((*path, index), value) for index, value in enumerate(item)]
        return item

    def _same(self, native: Any, legacy: Any) -> bool:
        if isinstance(native, bool) or isinstance(legacy, bool):
            return native is legacy
        if isinstance(native, int | float) and isinstance(legacy, int | float):
            return native == legacy or self._close(native, legacy)
        return type(native) is type(legacy) and bool(native == legacy)

    def _close(self, native: float, legacy: float) -> bool:
        try:
            return abs(native - legacy) <= self.comparison.tolerance or (math.isnan(native) and math.isnan(legacy))
        except OverflowError:  # an integer beyond every float
            return False


_NATURES = {
    Change.MISSING: Nature(NatureKind.ABSENT),
    Change.EXTRA: Nature(NatureKind.ABSENT),
}

_DEEPEST = 12
"""Steps of a path down to which arrays are aligned: what is looked at once more on each level stays a small factor."""

_IDENTITIES = ("id", "uuid", "_id", "key", "slug", "sku", "code", "name", "@id")


def identified(items: list[Any]) -> dict[Any, int] | None:
    """The index of each item by what identifies it: a field that all have and no two share; None without one."""
    if not items or not all(isinstance(item, dict) for item in in_slices(items)):
        return None
    for name in _IDENTITIES:
        values = [item.get(name) for item in in_slices(items)]
        if all(isinstance(value, str | int) for value in values) and len(set(values)) == len(values):
            return {value: index for index, value in enumerate(values)}
    return None


def _same_items(native: list[Any], legacy: list[Any]) -> bool:
    """The same items in another order? Both have as many."""
    left: Counter[Hashable] = Counter()
    try:
        for each in in_slices(native):
            left[_text_of(each)] += 1
        for each in in_slices(legacy):
            text = _text_of(each)
            if not left[text]:
                return False
            left[text] -= 1
        return any(_text_of(one) != _text_of(other) for one, other in in_slices(zip(native, legacy, strict=True)))
    except RecursionError:
        return False


def _text_of(item: Any) -> Hashable:
    return json.dumps(item, sort_keys=True) if isinstance(item, dict | list) else (type(item), item)


_SKIPPED_AT = frozenset({1, 2, 3, 4, 5, 9, 13, 17, 21, 25, 29})
"""Steps of a path at which equal parts are passed over as a whole: each such level looks at what is below once more."""


def _identical(native: Any, legacy: Any) -> bool:
    """Are two trees the same to the letter? Format 2 of marshal has no references, and tells 1, 1.0 and true apart.

    It takes a tenth of the time of a walk. False may be wrong (the order of fields), and costs that walk.
    """
    try:
        return marshal.dumps(native, 2) == marshal.dumps(legacy, 2)
    except ValueError:  # too deep
        return False


def _first(items: list[Any]) -> str:
    return _shortened("first " + json.dumps(items[0])) if not isinstance(items[0], dict | list) else "another order"


def representative(differences: tuple[Difference, ...], most: int = 100) -> tuple[Difference, ...]:
    """At most so many of them: the first of each place, and then the others."""
    differences = tuple({(each.path, each.change): each for each in differences}.values())
    first = {(each.place, each.change): each for each in reversed(differences)}
    chosen = set(map(id, first.values()))
    ordered = [each for each in differences if id(each) in chosen] + [
        each for each in differences if id(each) not in chosen
    ]
    return tuple(ordered[:most])


def _common(left: list[str], right: list[str]) -> tuple[dict[str, int], dict[str, int]]:
    """How often each text is on both sides: once to be used up on the left, once on the right."""
    both = Counter(left) & Counter(right)
    return dict(both), dict(both)


def _taken(left_over: dict[str, int], text: str) -> bool:
    if left_over.get(text, 0) == 0:
        return False
    left_over[text] -= 1
    return True


def _shown(value: object) -> str | None:
    if value is _ABSENT:
        return None
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)}"
    return _shortened(value if isinstance(value, str) else json.dumps(value))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
