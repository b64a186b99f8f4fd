"""The state in files: switches.toml, which people edit too, and a history in the data folder of the gateway."""

from __future__ import annotations

import logging
from pathlib import Path

from graft.errors import GraftError
from graft.operations.baselines import Baselines
from graft.operations.edits import Edit, edit
from graft.operations.history_file import HistoryFile
from graft.operations.locks import FileLease
from graft.operations.state import Cause, Change, Decision, Event, Transition
from graft.operations.switches import Switches, parse, read
from graft.operations.watcher import Watcher
from graft.settings import Settings
from graft.types import RouteKey

logger = logging.getLogger(__name__)


class FileState:
    """``State`` over the switches at ``path`` and the history in ``data``. What it read last it keeps in
    memory, so that the same text is parsed once."""

    def __init__(self, path: Path, data: Path) -> None:
        self.path = path
        self._history = HistoryFile(data / "history.jsonl")
        self.baselines = Baselines(data / "promotions.json")
        self._data = data
        self._last_good = data / "switches.last-good.toml"
        self._known: tuple[str, Switches] | None = None

    @classmethod
    def of(cls, settings: Settings) -> FileState:
        return cls(settings.switches, settings.data)

    @property
    def place(self) -> str:
        return str(self.path.absolute())

    def read(self) -> Switches:
        text = read(self.path)
        known = self._known  # one object, so that two threads never mix a text with the switches of another
        if known is None or known[0] != text:
            known = self._known = (text, parse(text, self.path))
        return known[1]

    def change(self, decide: Decision, cause: Cause) -> tuple[Transition, ...]:
        changes: list[Change] = []

        def record(switches: Edit) -> None:
            # The file's lock is still held, so events stand in the history in the order of the changes. A process that
            # is killed just before has made a change that is not recorded; none is recorded that was not made.
            self._record(switches, changes, cause)

        with edit(self.path, written=record) as switches:
            changes.extend(decide(switches.before))
            for change in changes:
                if change.settings:
                    switches.set(change.key, **change.settings)
        return tuple(_transition(switches, change.key) for change in changes)

    def history(self, key: RouteKey | None = None, last: int = 100) -> list[Event]:
        return self._history.newest(key, last)

    def lease(self, name: str) -> FileLease:
        return FileLease(self._data / f".{name}.lease")

    def follow(self) -> Watcher:
        return Watcher(self.path, self._last_good)

    def _record(self, switches: Edit, changes: list[Change], cause: Cause) -> None:
        events = [Event.of(_transition(switches, change.key), change.settings, cause) for change in changes]
        try:
            self._history.append(event for event in events if event is not None)
        except GraftError as error:
            logger.warning("%s was changed, but that is not in the history: %s", self.path, error)


def _transition(switches: Edit, key: RouteKey) -> Transition:
    return Transition(key, switches.before.for_route(key), switches.after.for_route(key))
