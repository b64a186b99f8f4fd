"""Edits: changing switches.toml without losing a comment, another writer's change, or a reader.

A writer holds a lock file beside switches.toml for as long as it reads, changes and replaces; a reader never sees half
a file. It needs neither the gateway nor Elasticsearch, so a rollback works when both are down.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AbstractTable

from graft import files
from graft.errors import SwitchesError, SwitchesReadOnly
from graft.operations.locks import LockHeld, LockUnwritable, locked
from graft.operations.switches import Switches, parse, read
from graft.types import RouteKey

LOCK_SECONDS = 10.0
"""How long a writer waits for the others. Each one holds the lock for some milliseconds."""

_HEADING = """\
# Which side answers each switched route. Edit it, review it, ship it: running workers follow within half a second.
# share: percent that the native side answers, sticky per client. mirror: percent that is compared with the other side.
"""


class Edit:
    """The file while it is being changed: see ``edit``. Its methods are for the block alone, in one thread."""

    def __init__(self, text: str, switches: Switches) -> None:
        self.before = switches
        """what the file said before"""
        self.after = switches
        """what it says when the block has ended"""
        self._text = text
        self._is_changed = False
        self._document = tomlkit.parse(text or _HEADING)
        self._names = {RouteKey.parse(name): name for name in self._document if name != "defaults"}

    def set(self, key: RouteKey, **changes: Any) -> None:
        """Set these settings (fields of Switch) of the route; None takes a setting out."""
        self._is_changed = True
        table = self._table(key)
        for name, value in changes.items():
            if value is None:
                table.pop(name, None)
            elif name in table:
                table[name] = _plain(value)
            else:
                _add(table, name, _plain(value))

    def text(self) -> str:
        return tomlkit.dumps(self._document) if self._is_changed else self._text

    def _table(self, key: RouteKey) -> AbstractTable:
        if key not in self._names:
            self._names[key] = str(key)
            self._document[str(key)] = tomlkit.table()
        found: AbstractTable = self._document[self._names[key]]
        return found


@contextmanager
def edit(path: Path, written: Callable[[Edit], None] | None = None) -> Iterator[Edit]:
    """Change the file as one step: ``with edit(path) as change: change.set(key, share=10)``.

    A symlink is followed and stays. Nothing is written when the block raises, or when the outcome would not be valid.
    ``written`` is called when the file is on the disk, before the next writer may begin.
    Raises SwitchesError when the file is broken already, can't be written, or is locked for too long.
    """
    target = Path(os.path.realpath(path))
    with _locked(target):
        before = read(target)
        change = Edit(before, parse(before, path))
        yield change
        after = change.text()
        change.after = parse(after, path)
        if after != before:
            _replace(target, after.encode())
            if written is not None:
                written(change)


def set_switch(path: Path, key: RouteKey, **changes: Any) -> Switches:
    """Set these settings (fields of Switch, None takes one out) of one route; the file's new state."""
    with edit(path) as change:
        change.set(key, **changes)
    return change.after


def _plain(value: Any) -> Any:
    """10.0 as 10, the way people write it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _add(table: AbstractTable, name: str, value: Any) -> None:
    """A new setting goes below the others, but above the comment that introduces the next table."""
    body = getattr(table.value, "body", [])  # a table in several places has no body of its own
    tail = []
    while body and body[-1][0] is None:
        tail.append(body.pop())
    table[name] = value
    body.extend(reversed(tail))


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    if not target.parent.is_dir():
        raise SwitchesError(str(target), "its directory is not there", "Make the directory, or mend GRAFT_SWITCHES.")
    try:
        with locked(target, LOCK_SECONDS):
            yield
    except LockHeld as error:
        raise SwitchesError(
            str(target), f"another process has held {error.file} for {LOCK_SECONDS:g} s", "Is one hanging?"
        ) from None
    except LockUnwritable as error:
        raise _unwritable(target, error.reason) from None


def _replace(target: Path, content: bytes) -> None:
    try:
        files.replace(target, content)
    except OSError as error:
        raise _unwritable(target, error) from None


def _unwritable(target: Path, error: OSError) -> SwitchesReadOnly:
    return SwitchesReadOnly(
        str(target),
        f"can't be written: {error.strerror}",
        "Let Graft write there, or change it where it is shipped from.",
    )
