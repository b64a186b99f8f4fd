"""Edits by hand: what changed in switches.toml without an operation, put into the history once for all who see it.

The switches as the history has them are kept beside it. Whoever finds others in the file, the follower of any worker or
the next operation, records the difference; the lock sees to it that one of them does. Who wrote a file is known by its
owner alone. An operation announces what it is about to write: where it is killed in between, what it did is recorded as
its own all the same.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from hashlib import blake2b
from pathlib import Path

from graft import files
from graft.errors import GraftError, SwitchesError
from graft.operations.history_file import HistoryFile
from graft.operations.locks import LockHeld, LockUnwritable, locked
from graft.operations.state import Cause, Event, Transition
from graft.operations.switch import Switch
from graft.operations.switches import Switches, parse, read

LOCK_SECONDS = 10.0
OPERATION = "edit"
RECENT = 100
"""So many of the newest events may have come since somebody was killed."""

logger = logging.getLogger(__name__)

_SETTINGS = tuple(each.name for each in fields(Switch))


class Edited:
    """What the history has of the switches at ``path``; kept at ``kept``. Its methods block; any thread and process."""

    def __init__(self, path: Path, kept: Path, history: HistoryFile) -> None:
        self._path = path
        self.kept = kept
        self._announced = kept.with_name(f"{kept.stem}.next.json")
        self._history = history
        self._failing = False

    def look(self) -> None:
        """Record what the file says now and the history has not. A file that is broken is not looked at."""
        if self._known() == self._text():
            return
        with suppress(SwitchesError), self.locked() as held:
            if held:
                self.record(text := read(self._path), parse(text, self._path))

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """While it is held nobody else records. False where it can't be had: a change has to work on a full disk."""
        try:
            files.make_data_folder(self.kept.parent)
            lock = locked(self.kept, LOCK_SECONDS)
            lock.__enter__()
        except (OSError, LockHeld, LockUnwritable) as error:
            self._report(error)
            yield False
            return
        try:
            yield True
        finally:
            lock.__exit__(None, None, None)

    def record(self, text: str, switches: Switches) -> None:
        """``text``, which says ``switches``, was found in the file. Called with the lock."""
        known = self._known()
        if known == text:
            return
        events = self._announced_for(text)
        if known is None or events is not None:
            self.settle(text, events or [], again=True)
        elif self.announce(text, events := self._by_hand(known, switches)):
            self.settle(text, events)

    def announce(self, text: str, events: Sequence[Event]) -> bool:
        """``events`` are what leads to ``text``. False where that can't be kept: then nothing is recorded, for it might
        be recorded again and again. Called with the lock."""
        content = {"text": _digest(text), "events": [event.as_data() for event in events]}
        return self._write(self._announced, json.dumps(content))

    def settle(self, text: str, events: Sequence[Event], *, again: bool = False) -> None:
        """The history has ``events``, and the file ``text``. Called with the lock; ``again`` where somebody was killed
        who may have come half-way."""
        try:
            there = {event.id for event in self._history.newest(None, len(events) + RECENT)} if again else set()
            self._history.append(event for event in events if event.id not in there)
        except GraftError as error:
            logger.warning("%s was changed, but that is not in the history: %s", self._path, error)
        self._write_kept(text)

    def _by_hand(self, known: str, switches: Switches) -> list[Event]:
        try:
            before = parse(known, self.kept)
        except SwitchesError:
            return []
        cause = Cause(OPERATION, f"{_owner(self._path)} (by hand)")
        transitions = (
            Transition(key, before.for_route(key), switches.for_route(key)) for key in {**before, **switches}
        )
        return [event for each in transitions if (event := Event.of(each, _SETTINGS, cause)) is not None]

    def _announced_for(self, text: str) -> list[Event] | None:
        with suppress(OSError, ValueError, LookupError, TypeError):
            content = json.loads(self._announced.read_text(encoding="utf-8"))
            if content["text"] == _digest(text):
                return [Event.of_data(data) for data in content["events"]]
        return None

    def _write_kept(self, text: str) -> bool:
        return self._write(self.kept, text)

    def _write(self, path: Path, text: str) -> bool:
        try:
            files.replace(path, text.encode())
        except OSError as error:
            self._report(error)
            return False
        self._failing = False
        return True

    def _known(self) -> str | None:
        try:
            return self.kept.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def _text(self) -> str | None:
        with suppress(SwitchesError):
            return read(self._path)
        return None

    def _report(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            logger.warning("%s can't be written (%s): edits of %s are not in the history", self.kept, error, self._path)


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (OSError, KeyError, NotImplementedError):
        with suppress(OSError):
            return f"uid {os.stat(path).st_uid}"
    return "somebody"
