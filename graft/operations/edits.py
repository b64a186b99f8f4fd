"""Edits: changing switches.toml without losing a comment, another writer's change, or a reader.

A writer holds a lock file beside switches.toml for as long as it reads, changes and replaces; a reader never sees half
a file. It needs neither the gateway nor Elasticsearch, so a rollback works when both are down.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from graft import files
from graft.errors import SwitchesBroken, SwitchesError, SwitchesReadOnly
from graft.operations.locks import LockHeld, LockUnwritable, locked
from graft.operations.switch import Switch
from graft.operations.switches import Switches, parse, read
from graft.operations.table_texts import NoPlainTable, TableTexts, set_all
from graft.types import RouteKey

SETTLE_SECONDS = 0.1

LOCK_SECONDS = 10.0
"""How long a writer waits for the others. Each one holds the lock for some milliseconds."""

_HEADING = """\
# Which side answers each switched route. Edit it, review it, ship it: running workers follow within half a second.
# share: percent that the native side answers, sticky per client. mirror: percent that is compared with the other side.
"""


class Edit:
    """The file while it is being changed: see ``edit``. Its methods are for the block alone, in one thread."""

    def __init__(self, text: str, switches: Switches, path: Path) -> None:
        self.before = switches
        """what the file said before"""
        self.after = switches
        """what it says when the block has ended"""
        self._path = path
        self._original = self._text = text
        self._changes: dict[RouteKey, dict[str, Any]] = {}

    def set(self, key: RouteKey, **changes: Any) -> None:
        """Set these settings (fields of Switch) of the route; None takes a setting out."""
        self._changes.setdefault(key, {}).update(changes)

    def text(self) -> str:
        """What the file said, until the block has ended; then what it says now."""
        return self._text

    def apply(self) -> None:
        """Make the new text. Raises SwitchesError when it would not be valid."""
        if not self._changes:
            return
        try:
            self._text = self._spliced()
            self.after = parse(self._text, self._path)
            if self._is_as_meant():
                return
        except (NoPlainTable, SwitchesError, TOMLKitError, ValueError):
            pass  # the other way says what is wrong, if anything is
        self._text = self._rewritten()
        self.after = parse(self._text, self._path)

    def _spliced(self) -> str:
        tables = TableTexts(self._original or _HEADING)
        for key, changes in self._changes.items():
            tables.set(key, changes, is_new=key not in self.before.entries)
        return tables.text()

    def _is_as_meant(self) -> bool:
        """Whether the routes that were set have what was set, and nothing else is another one."""
        before, after = self.before.entries, self.after.entries
        if after.keys() != before.keys() | self._changes.keys() or self.after.defaults != self.before.defaults:
            return False
        if any(after[key] != switch for key, switch in before.items() if key not in self._changes):
            return False
        return all(self._is_set(after[key], key, changes) for key, changes in self._changes.items())

    def _is_set(self, switch: Switch, key: RouteKey, changes: Mapping[str, Any]) -> bool:
        before = self.before.for_route(key)
        return all(
            getattr(switch, each.name) == changes.get(each.name, getattr(before, each.name))
            for each in fields(switch)
            if changes.get(each.name, each) is not None
        )

    def _rewritten(self) -> str:
        document = tomlkit.parse(self._original or _HEADING)
        names = {RouteKey.parse(name): name for name in document if name != "defaults"}
        for key, changes in self._changes.items():
            if key not in names:
                names[key] = str(key)
                document[str(key)] = tomlkit.table()
            set_all(document[names[key]], changes)
        return tomlkit.dumps(document)


@contextmanager
def edit(
    path: Path, written: Callable[[Edit], None] | None = None, writing: Callable[[Edit], None] | None = None
) -> Iterator[Edit]:
    """Change the file as one step: ``with edit(path) as change: change.set(key, share=10)``.

    A symlink is followed and stays. Nothing is written when the block raises, or when the outcome would not be valid.
    ``writing`` is called when it is about to be written, ``written`` when the file is on the disk; both before the next
    writer may begin.
    Raises SwitchesError when the file is broken already, can't be written, or is locked for too long.
    """
    target = Path(os.path.realpath(path))
    with _locked(target):
        before = read(target)
        change = Edit(before, parse(before, path), path)
        yield change
        change.apply()
        after = change.text()
        if after != before:
            if writing is not None:
                writing(change)
            _replace(target, after.encode())
            if written is not None:
                written(change)


def set_switch(path: Path, key: RouteKey, **changes: Any) -> Switches:
    """Set these settings (fields of Switch, None takes one out) of one route; the file's new state."""
    with edit(path) as change:
        change.set(key, **changes)
    return change.after


def set_broken_aside(path: Path, good: Callable[[], str], others: Iterable[Path] = ()) -> Path | None:
    """Where the file is broken, put the text that ``good`` gives in its place, as one step.

    Returns where the broken one is kept: beside the file, else in the first of ``others`` that takes it. What is no
    file, as a folder or a FIFO, is renamed as it is. None, and nothing has changed, where the file is good. Raises
    SwitchesError, of ``good`` as well.
    """
    target = Path(os.path.realpath(path))
    if _is_no_file(target):
        target = path.absolute()  # and no link is followed: where it leads to is somebody else's
    if not _is_broken(target):
        return None
    time.sleep(SETTLE_SECONDS)  # what an editor is just writing is not taken for a broken one
    with _locked(target):
        if not _is_broken(target):
            return None
        text = good().encode()
        kept = _renamed(target) if _is_no_file(target) else _copied(target, others)
        _replace(target, text)
        return kept


def _is_no_file(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _is_broken(path: Path) -> bool:
    if _is_no_file(path):
        return True
    try:
        parse(read(path), path)
    except SwitchesBroken:
        return True
    return False


def _copied(target: Path, others: Iterable[Path]) -> Path:
    """A copy of ``target`` under a new name, of the same mode. (The file itself may be a mount point.)"""
    name = _aside(target)
    problem: OSError | None = None
    for folder in (target.parent, *others):
        try:
            files.create(folder / name, target.read_bytes(), target.stat().st_mode & 0o777)
        except OSError as error:
            problem = problem or error
        else:
            return folder / name
    assert problem is not None
    raise _unwritable(target, problem)


def _renamed(target: Path) -> Path:
    """Raises SwitchesReadOnly, as for a mount point."""
    kept = target.parent / _aside(target)
    try:
        target.rename(kept)
    except OSError as error:
        raise _unwritable(target, error) from None
    return kept


def _aside(target: Path) -> str:
    return f"{target.name}.broken-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"


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
