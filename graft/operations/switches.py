"""Switches: what switches.toml says about each switched route, read and checked.

::

    [defaults]                              # optional; for every switched route that does not say otherwise
    deadline = 10

    ["GET /api/articles/{id:int}"]
    share = 10                              # percent that the native side answers, sticky per client
    mirror = 100                            # percent that also runs on the other side, and is compared
    ignore = ["body.took", "header.etag"]   # all but share and mirror are optional

The fields of ``switch.Switch`` are the settings, under the same names. ``[defaults]`` takes all of them but ``share``,
``tripped``, ``hold`` and what belongs to them; its ``mirror`` is for GET and HEAD only, since running a write twice is
a decision about one route. A file that is not there is an empty one.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from graft.errors import SwitchesBroken, SwitchesError
from graft.mirroring.fence import Kind
from graft.operations.lines import line_of
from graft.operations.switch import READING_KEYS, Switch
from graft.types import RouteKey

MOST_BYTES = 512 * 1024
MOST_ROUTES = 2000
LONGEST_LINE = 2000
MOST_LINES = 20_000
MOST_DOTS = 20
"""What a file is refused above, before anything reads its TOML, which takes seconds for what is larger: half a second
at the limits. (Readers of TOML in Python need the square of the length for some lines and tables.)"""

_DOTS = re.compile(rf"\s*\[*(?:[\w \t-]*\.){{{MOST_DOTS + 1}}}").match

_EXPECTED: Mapping[str, str] = {
    "share": "a percentage from 0 to 100 with at most two decimals",
    "mirror": "a percentage from 0 to 100 with at most two decimals",
    "ignore": 'a list of paths, as in ["status", "header.etag", "body.items[*].score"]',
    "headers": 'a list of header names, as in ["content-type", "location"]',
    "tolerance": "a number from 0 upwards",
    "unordered": 'a list of paths to arrays, as in ["body.tags"]',
    "resample": "a percentage from 0 to 100 with at most two decimals",
    "allow": 'a list of kinds, as in ["redis"]: ' + ", ".join(Kind),
    "redact": 'a list of names, as in ["x-internal-key"]',
    "sticky": '"user", "client", "cookie:NAME" or "header:NAME"; "user" in place of Flask\'s session cookie, '
    "which is signed anew again and again",
    "hooks": "true or false",
    "errors": '"native" or "legacy"',
    "deadline": "a number of seconds above 0",
    "trip": "a table such as { percent = 10, least = 5, window = 60 }",
    "gates": "a table such as { compared = 100, parity = 99.5, errors = 1, slower = 1.2, confidence = 99 }",
    "ladder": "rising shares up to 100, as in [1, 10, 50, 100]",
    "bake": "seconds, or a list of them for each share below 100, as in [600, 300]",
    "watch": "a number of seconds from 0 upwards",
    "tripped": "the reason as a text",
    "tripped_at": "a date and time such as 2025-01-31T12:00:00Z",
    "hold": "the reason as a text",
    "held_by": "a name as a text",
    "held_at": "a date and time such as 2025-01-31T12:00:00Z",
    "climb": "a name as a text",
    "climb_at": "a date and time such as 2025-01-31T12:00:00Z",
    "climb_share": "a percentage from 0 to 100 with at most two decimals",
}
_NOT_BY_DEFAULT = (
    "share",
    "tripped",
    "tripped_at",
    "hold",
    "held_by",
    "held_at",
    "climb",
    "climb_at",
    "climb_share",
)
_SCHEMA = TypeAdapter(Switch)


@dataclass(frozen=True)
class Switches(Mapping[RouteKey, Switch]):
    """Every entry of switches.toml. Immutable: a change is a new object."""

    entries: Mapping[RouteKey, Switch] = field(default_factory=dict)
    defaults: Switch = field(default_factory=lambda: Switch(mirror=100.0))

    def for_route(self, key: RouteKey) -> Switch:
        """The route's switch; without an entry it starts dark, and is mirrored if its method only reads."""
        return self.entries.get(key) or (self.defaults if key.method in READING_KEYS else self._writing_defaults)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_writing_defaults", replace(self.defaults, mirror=0.0))

    _writing_defaults: Switch = field(init=False, repr=False, compare=False)

    def __getitem__(self, key: RouteKey) -> Switch:
        return self.entries[key]

    def __iter__(self) -> Iterator[RouteKey]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def load(path: Path) -> Switches:
    """What the file says. Raises SwitchesError that names the file, the line and the mend."""
    return parse(read(path), path)


def read(path: Path) -> str:
    """The file's text, empty when there is no file. Raises SwitchesError when it can't be read, or is no plain file:
    to open a FIFO would wait for its writer for ever."""
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SwitchesError(str(path), "is no plain file", "Make it a file that Graft may read.")
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise SwitchesError(
            str(path), f"can't be read: {error.strerror}", "Make it a file that Graft may read."
        ) from None
    if len(content) > MOST_BYTES:
        raise SwitchesBroken(str(path), f"is larger than {MOST_BYTES} bytes", "Is this the right file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SwitchesBroken(f"{path}, line {line}", "is not UTF-8", "Save the file as UTF-8.") from None


@lru_cache(maxsize=4)
def parse(text: str, path: Path) -> Switches:
    """``text`` as Switches; ``path`` is for messages. Raises SwitchesError as ``load`` does.

    The last texts are known: what one change has written is what the next one begins with, and what followers read.
    """
    _check_size(text, path)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason, line = _syntax_error(error, text)
        raise SwitchesBroken(f"{path}, line {line}", reason, "Mend the TOML there.") from None
    return _Reader(path, text).switches(document)


def _check_size(text: str, path: Path) -> None:
    """Raises SwitchesError at once for what would take seconds."""
    lines = text.split("\n")
    if len(lines) > MOST_LINES:
        raise SwitchesBroken(str(path), f"has more than {MOST_LINES} lines", "Is this the right file?")
    longest = max(range(len(lines)), key=lambda number: len(lines[number]))
    if len(lines[longest]) > LONGEST_LINE:
        mend = "Write lists with one entry a line."
        raise SwitchesBroken(f"{path}, line {longest + 1}", f"is longer than {LONGEST_LINE} characters", mend)
    for number, line in enumerate(lines, 1):
        if line.count(".") > MOST_DOTS and _DOTS(line):
            found = f"has more than {MOST_DOTS} dots in a key"
            raise SwitchesBroken(f"{path}, line {number}", found, "Is this the right file?")
    tables = sum(line.lstrip().startswith("[") for line in lines)
    if tables > MOST_ROUTES:
        mend = "Leave out routes at their defaults: share 0, and mirror 100 for those that read."
        raise SwitchesBroken(str(path), f"has {tables} tables, more than {MOST_ROUTES}", mend)


def _syntax_error(error: Exception, text: str) -> tuple[str, int]:
    message = str(error)
    place = re.search(r" \(at line (\d+), column \d+\)", message)
    if place is None:  # "at end of document", or nested too deeply
        return message.removesuffix(" (at end of document)"), text.count("\n") + 1
    return message.replace(place[0], ""), int(place[1])


class _Reader:
    """Turns one parsed document into Switches; lives as long as that."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text

    def switches(self, document: dict[str, Any]) -> Switches:
        own = dict(document)
        defaults = own.pop("defaults", {})
        self._check_table("defaults", defaults, allowed=set(_EXPECTED) - set(_NOT_BY_DEFAULT))
        # Before the entries, which have them too: what is wrong there is said of there.
        by_default = self._switch("defaults", {"mirror": 100, **defaults})
        entries: dict[RouteKey, Switch] = {}
        for name, table in own.items():
            key = self._key(name)
            if key in entries:
                raise self._wrong((name,), f'"{key}" is there twice', "Keep one of the two.")
            self._check_table(name, table, allowed=set(_EXPECTED))
            entries[key] = self._switch(name, _over(self._defaults_for(key, defaults), table))
        return Switches(entries, by_default)

    @staticmethod
    def _defaults_for(key: RouteKey, defaults: dict[str, Any]) -> dict[str, Any]:
        if key.method in READING_KEYS:
            return {"mirror": 100, **defaults}
        return {**defaults, "mirror": 0}

    def _key(self, name: str) -> RouteKey:
        try:
            return RouteKey.parse(name)
        except ValueError as error:
            raise self._wrong((name,), str(error), 'Write each route as ["GET /path"], settings below it.') from None

    def _check_table(self, name: str, table: Any, *, allowed: set[str]) -> None:
        if not isinstance(table, dict):
            raise self._wrong((name,), f"{name} = {_short(table)}", f'Write ["{name}"] with its settings below it.')
        for setting in table.keys() - allowed:
            close = difflib.get_close_matches(setting, allowed, 1)
            mend = f"Did you mean {close[0]}?" if close else f"Known are {', '.join(sorted(allowed))}."
            raise self._wrong((name, setting), f'["{name}"] has no setting {setting!r}', mend)

    def _switch(self, name: str, table: dict[str, Any]) -> Switch:
        try:
            return _SCHEMA.validate_python(table, extra="forbid")
        except ValidationError as error:
            first = error.errors()[0]
            setting = str(first["loc"][0])
            inner = ".".join(str(step) for step in first["loc"][:2] if isinstance(step, str))
            raise self._wrong(
                (name, setting), f'["{name}"] has {inner} = {_short(first["input"])}', f"Write {_EXPECTED[setting]}."
            ) from None

    def _wrong(self, place: tuple[str, ...], found: str, mend: str) -> SwitchesBroken:
        line = line_of(self._text, place)
        return SwitchesBroken(f"{self._path}, line {line}" if line else str(self._path), found, mend)


def _over(defaults: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """``table`` on top of ``defaults``; the tables in it (trip, gates) are laid over each other likewise."""
    merged = {**defaults, **table}
    for name in ("trip", "gates"):
        if isinstance(defaults.get(name), dict) and isinstance(table.get(name), dict):
            merged[name] = {**defaults[name], **table[name]}
    return merged


def _short(value: object) -> str:
    text = "true" if value is True else "false" if value is False else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
