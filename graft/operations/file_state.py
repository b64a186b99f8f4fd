"""The state in files: switches.toml, which people edit too, and a history in the data folder of the gateway."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from graft.errors import GraftError, SwitchesError, SwitchesReadOnly
from graft.figures.route_figures import RouteFigures
from graft.operations.baselines import Baselines
from graft.operations.edited import Edited
from graft.operations.edits import Edit, edit, set_broken_aside
from graft.operations.history_file import HistoryFile
from graft.operations.locks import FileLease, LockHeld, LockUnwritable
from graft.operations.places_file import PlacesFile
from graft.operations.state import Cause, Change, Decision, Event, Mark, Transition, events_of
from graft.operations.switch import Switch
from graft.operations.switches import Switches, parse, read
from graft.operations.trips_aside import TripAside, TripsAside, name_of
from graft.operations.watcher import Watcher
from graft.settings import Settings
from graft.types import RouteKey

NO_LAST_GOOD = "Mend switches.toml; or graft rollback --all, which has Flask answer all of it."

logger = logging.getLogger(__name__)


class FileState:
    """``State`` over the switches at ``path`` and the history in ``data``. What it read last it keeps in
    memory, so that the same text is parsed once."""

    fleet = None
    waits = None

    def __init__(self, path: Path, data: Path) -> None:
        self.path = path
        self.baselines = Baselines(data / "promotions.json")
        self._data = data
        self._history = HistoryFile(data / "history.jsonl")
        self._edited = Edited(path, data / "switches.recorded.toml", self._history)
        self._aside = TripsAside(data / "trips.json")
        self._last_good = data / "switches.last-good.toml"
        self._known: tuple[str, Switches] | None = None

    @classmethod
    def of(cls, settings: Settings) -> FileState:
        return cls(settings.switches, settings.data)

    @property
    def place(self) -> str:
        return str(self.path.absolute())

    def read(self) -> Switches:
        return self._aside.over(self._own())

    def change(self, decide: Decision, cause: Cause) -> tuple[Transition, ...]:
        with self._edited.locked() as recording:
            try:
                return self._change(decide, cause, recording)
            except SwitchesReadOnly as error:
                return self._change_aside(decide, cause, error)

    def last_good(self) -> Switches:
        return self._aside.over(parse(self._last_good_text(), self.path))

    def set_broken_aside(self, *, or_empty: bool) -> str | None:
        def good() -> str:
            try:
                return self._last_good_text()
            except SwitchesError:
                if or_empty:
                    return ""
                raise

        kept = set_broken_aside(self.path, good, (self._data,))
        return None if kept is None else str(kept)

    def history(self, key: RouteKey | None = None, last: int = 100) -> list[Event]:
        return self._history.newest(key, last)

    def newest_mark(self) -> Mark:
        return self._history.end()

    def changes_after(self, mark: Mark, most: int) -> list[tuple[Event, Mark]]:
        return self._history.after(mark, most)

    def lease(self, name: str) -> FileLease:
        return FileLease(self._data / f".{name}.lease")

    def publishing(self, evidence: object, shown: object) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    def counting(self, failures: object) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    def of_all(self, own: Mapping[str, RouteFigures], folder: Path | None = None) -> Mapping[str, RouteFigures]:
        return own

    def hosts(self, own: object, folder: Path | None = None) -> Mapping[str, Any]:
        return {}

    def places(self, name: str, path: Path) -> PlacesFile:
        return PlacesFile(path)

    def follow(self) -> Watcher:
        return Watcher(self.path, self._last_good, self._edited, self._aside)

    def _own(self) -> Switches:
        """What the file itself says."""
        text = read(self.path)
        known = self._known  # one object, so that two threads never mix a text with the switches of another
        if known is None or known[0] != text:
            known = self._known = (text, parse(text, self.path))
        return known[1]

    def _last_good_text(self) -> str:
        """Of the copies that followers and operations keep, the newest one. Raises SwitchesError."""
        copies: list[tuple[int, str]] = []
        for path in (self._last_good, self._edited.kept):
            with suppress(OSError, SwitchesError):
                changed = path.stat().st_mtime_ns
                parse(text := read(path), path)
                copies.append((changed, text))
        if copies:
            return max(copies)[1]
        raise SwitchesError(str(self._last_good), "is not there, or broken too", NO_LAST_GOOD)

    def _change(self, decide: Decision, cause: Cause, recording: bool) -> tuple[Transition, ...]:
        changes: list[Change] = []
        transitions: list[Transition] = []
        events: list[Event] = []

        def announce(switches: Edit) -> None:
            transitions.extend(
                Transition(change.key, before.for_route(change.key), switches.after.for_route(change.key))
                for change in changes
            )
            events.extend(events_of(transitions, changes, cause))
            if recording:
                self._edited.announce(switches.text(), events)

        def record(switches: Edit) -> None:
            # The file's lock is still held, so events stand in the history in the order of the changes.
            if recording:
                self._edited.settle(switches.text(), events)
            else:
                self._record(events)

        with edit(self.path, written=record, writing=announce) as switches:
            if recording:
                self._edited.record(switches.text(), switches.before)
            aside = self._aside.read()
            before = self._aside.over(switches.before)
            changes.extend(decide(before))
            for change in changes:
                settings = dict(change.settings)
                if change.key in aside and settings:
                    # The file can be written again: what held in its place goes into it.
                    held = before.for_route(change.key)
                    settings = {"share": held.share, "tripped": held.tripped, "tripped_at": held.tripped_at, **settings}
                if settings:
                    switches.set(change.key, **settings)
        self._drop_aside(change.key for change in changes if change.key in aside)
        if transitions:
            return tuple(transitions)
        return tuple(
            Transition(change.key, before.for_route(change.key), switches.after.for_route(change.key))
            for change in changes
        )

    def _change_aside(self, decide: Decision, cause: Cause, error: SwitchesReadOnly) -> tuple[Transition, ...]:
        """The change where the file can't be written: a trip is kept in the data folder, and taken back there."""
        own = self._own()
        try:
            with self._aside.changing() as trips:
                before = self._aside.over(own)
                changes = list(decide(before))
                transitions = []
                for change in changes:
                    held, entry = before.for_route(change.key), own.for_route(change.key)
                    after = replace(held, **change.settings)
                    if after == entry:
                        trips.pop(change.key, None)
                    elif after != held:
                        trips[change.key] = trip = _trip_of(after, entry, cause, error)
                        after = trip.over(entry)
                    transitions.append(Transition(change.key, held, after))
        except (OSError, LockHeld, LockUnwritable):
            raise error from None
        self._record(events_of(transitions, changes, cause))
        return tuple(transitions)

    def _drop_aside(self, keys: Iterable[RouteKey]) -> None:
        dropped = list(keys)
        if dropped:
            try:
                with self._aside.changing() as trips:
                    for key in dropped:
                        trips.pop(key, None)
            except (OSError, LockHeld, LockUnwritable) as error:
                logger.warning("%s can't be written: %s", self._aside.path, error)

    def _record(self, events: Iterable[Event]) -> None:
        try:
            self._history.append(events)
        except GraftError as error:
            logger.warning("%s was changed, but that is not in the history: %s", self.path, error)


def _trip_of(after: Switch, entry: Switch, cause: Cause, error: SwitchesError) -> TripAside:
    """Raises ``error`` for a change that is no trip."""
    if cause.operation != "trip" or after.tripped is None or after.tripped_at is None:
        raise error
    reason = f"{after.tripped}; switches.toml can't be written: this holds until the route's entry there is another one"
    logger.warning("%s The trip is kept in the data folder, for all workers of this host.", error)
    return TripAside(reason, after.tripped_at, name_of(entry))
