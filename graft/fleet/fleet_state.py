"""The state of a fleet: ``State`` over one document in the cluster, with the last known one on this host's disk.

A change is read, decided, and written where nobody else wrote in between; else it is decided again on what the other
one left. So of two operators neither loses what he set, and who holds a route is seen by whoever would move it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from graft import files
from graft.connection.leaving import is_leaving
from graft.errors import FleetUnavailable, OperationRefused, SwitchesBroken, SwitchesError
from graft.figures.route_figures import RouteFigures
from graft.fleet.cluster import Cluster, Conflict
from graft.fleet.decisions import Decision, Decisions
from graft.fleet.fleet_baselines import FleetBaselines
from graft.fleet.fleet_trips import FleetTrips, HostFailures
from graft.fleet.follower import FleetFollower
from graft.fleet.keeper import Keeper
from graft.fleet.last_known import LastKnown
from graft.fleet.lease import FleetLease
from graft.fleet.publisher import EvidenceOf, Publisher, ShownOf
from graft.fleet.servers import Servers, own_server
from graft.fleet.snapshot import MOST_EVENTS, Snapshot
from graft.operations.edits import Edit
from graft.operations.shift import refuse_if_held
from graft.operations.state import PROMOTION, Cause, Change, Event, Mark, Transition, events_of
from graft.operations.state import Decision as Decide
from graft.operations.switch import Switch
from graft.operations.switches import Switches, parse, read
from graft.settings import Settings
from graft.types import RouteKey

MOST_TRIES = 200
LONGEST_PAUSE = 0.25
"""Seconds between two tries of a change at most: as many as a hundred writers at once need."""

GAVE_WAY = "gave way"
"""The operation of an event that tells of a decision which a newer one had overtaken."""

_JITTER = random.SystemRandom()

log = logging.getLogger("graft.fleet")


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A change that is about to be written."""

    text: str
    events: Sequence[Event]
    transitions: tuple[Transition, ...] = ()


class FleetState:
    """The switches of ``cluster``'s fleet, followed from ``data``; ``seed`` is the file that an empty fleet begins
    with. The methods block; any thread and process."""

    def __init__(self, cluster: Cluster, data: Path, seed: Path) -> None:
        self.cluster = cluster
        self.place = cluster.place
        self.last_known = LastKnown(data / f"fleet-{cluster.name}")
        self.decisions = Decisions(self.last_known)
        self.servers = Servers(cluster)
        self.baselines = FleetBaselines(data / "promotions.json", self.servers, self.known)
        self.keeper = Keeper(self, data, leaves=is_leaving)
        self._seed_file = seed
        self._leases: dict[str, FleetLease] = {}
        self._follows = False
        self._follower: FleetFollower | None = None
        self._recorded = 0
        self._wakes = True

    @classmethod
    def of(cls, name: str, settings: Settings) -> FleetState:
        """Opens nothing yet. Raises SettingError where no cluster is named."""
        return cls(Cluster(name, settings), settings.data, settings.switches)

    @property
    def fleet(self) -> Mapping[str, Any]:
        known = self.last_known.read()
        where = {"name": self.cluster.name, "cluster": self.cluster.addresses}
        return {**where, "revision": known.revision, "problem": self.keeper.problem}

    @property
    def waits(self) -> str | None:
        number = len(self.decisions.read())
        if not number:
            return None
        return f"{number} changed on this host; {self.place} can't be reached, and has it when it can"

    # -- reading -------------------------------------------------------------------------------------------------------

    def read(self) -> Switches:
        """In a gateway what this host knows, which is under a second old. A command asks the cluster, and goes by what
        is known where that does not answer."""
        if not self._follows:
            try:
                return self.keep(self.cluster.read() or self.seed())
            except FleetUnavailable as error:
                if not (revision := self.last_known.read().revision):
                    raise
                log.warning("%s. Shown is what this host knew last: revision %d", error.found, revision)
        return self.on_this_host()

    def on_this_host(self) -> Switches:
        """What this host goes by: the last known state, and what was decided here since."""
        path = self.last_known.path
        return self.decisions.over(parse(read(path), path))

    def known(self) -> tuple[Mapping[str, int], Switches] | None:
        """What this host goes by, with the revision of each route that it is of; None in the moment of a change."""
        both = self.last_known.both()
        if both is None:
            return None
        about, text = both
        return about.revisions, self.decisions.over(parse(text, self.last_known.path))

    def follow(self) -> FleetFollower:
        """Where nothing is known yet, the cluster is asked. If it can't be, every route is dark: the legacy side is
        always right."""
        self._follows = True
        if not self.last_known.read().revision:
            try:
                self.begin()
            except FleetUnavailable as error:
                log.warning("%s Nothing is known of the fleet here: every route is at share 0 until it answers", error)
        self._follower = FleetFollower(self.last_known, self.decisions, self.keeper)
        return self._follower

    @property
    def followed(self) -> Switches:
        """What this worker goes by, where it follows; the same object until it changes."""
        return self._follower.switches if self._follower is not None else self.on_this_host()

    def publishing(self, evidence: EvidenceOf, shown: ShownOf) -> AbstractAsyncContextManager[None]:
        return Publisher(self, evidence, shown).running()

    def counting(self, failures: HostFailures) -> AbstractAsyncContextManager[None]:
        return FleetTrips(self, failures).running()

    def hosts(self, own: Mapping[str, RouteFigures], folder: Path | None = None) -> Mapping[str, Any]:
        server = own_server(folder)
        try:
            living = self.servers.living("shown", server)
            found = self.servers.outliers(own, server)
        except FleetUnavailable:
            return {}
        return {"hosts": len(living) + bool(own), "outliers": [each.as_data() for each in found]}

    def of_all(self, own: Mapping[str, RouteFigures], folder: Path | None = None) -> Mapping[str, RouteFigures]:
        try:
            return self.servers.together(own, own_server(folder))
        except FleetUnavailable:
            return own

    def begin(self) -> None:
        """Fetch the switches, or begin the fleet where it has none: with what is known here, else with the seed.
        Raises FleetUnavailable, SwitchesError, OSError."""
        snapshot = self.cluster.read()
        if snapshot is None:
            try:
                snapshot = self._put(self.seed())
                log.info("%s begins with the %d routes of %s", self.place, len(self.parsed(snapshot)), self._seed_file)
            except Conflict:
                snapshot = self.cluster.read()
        if snapshot is not None:
            self.parsed(snapshot)
            self.last_known.keep(snapshot)

    def seed(self) -> Snapshot:
        """What an empty fleet begins with. Raises SwitchesError."""
        if (known := self.last_known.snapshot()) is not None:
            return known
        text = read(self._seed_file)
        parse(text, self._seed_file)
        return Snapshot(text)

    def keep(self, snapshot: Snapshot) -> Switches:
        """On this host's disk at once, if a gateway runs or ran here; what holds here now. Raises SwitchesError."""
        switches = self.parsed(snapshot)
        if self._follows or self.last_known.folder.is_dir():
            try:
                if snapshot.version is not None:
                    self.last_known.keep(snapshot)
            except OSError as error:
                log.warning("%s can't be written: %s", self.last_known.path, error)
        return self.decisions.over(switches)

    def parsed(self, snapshot: Snapshot) -> Switches:
        return parse(snapshot.text, Path(f"fleet {self.cluster.name}"))

    # -- changing ------------------------------------------------------------------------------------------------------

    def change(self, decide: Decide, cause: Cause) -> tuple[Transition, ...]:
        fences = self._fences(cause)
        if fences is None:
            return ()  # another host drives the promotions by now
        try:
            self.send_decisions()
            return self._change(decide, cause, fences)
        except FleetUnavailable as error:
            if cause.operation != "trip":
                raise
            log.warning("%s The trip is kept on this host, and goes to the fleet when it answers", error)
            return self.decide_here(decide, cause)

    def decide_here(self, decide: Decide, cause: Cause) -> tuple[Transition, ...]:
        """The change for this host at once, whether the cluster answers or not; the fleet has it later. Raises
        SwitchesError where it can't be kept."""
        before, base = self.on_this_host(), self.last_known.read().revision
        changes = list(decide(before))
        transitions = tuple(_transition(before, change) for change in changes)
        decisions = [
            Decision(event, change.settings, base)
            for transition, change in zip(transitions, changes, strict=True)
            if (event := Event.of(transition, change.settings, cause)) is not None
        ]
        try:
            self.decisions.add(decisions)
        except OSError as error:
            mend = "Let Graft write there."
            raise SwitchesError(str(self.decisions.path), f"can't be written: {error}", mend) from None
        return transitions

    def send_decisions(self) -> None:
        """Give the fleet what was decided on this host. Raises FleetUnavailable."""
        if not (decisions := self.decisions.read()):
            return

        def attempt(before: Snapshot) -> _Attempt:
            there = {event["id"] for event in before.events}
            there |= self.cluster.recorded([each.event.id for each in decisions])
            switches = Edit(before.text, self.parsed(before), self._seed_file)
            events = []
            for each in decisions:
                if each.event.id in there:
                    continue  # its sender was killed, or had no answer
                if before.revisions.get(str(each.key), 0) > each.base:
                    events.append(_gave_way(each, before))
                else:
                    switches.set(each.key, **each.settings)
                    events.append(each.event)
            switches.apply()
            return _Attempt(switches.text(), events)

        self._write(attempt, {})
        try:
            self.decisions.drop(decisions)
        except OSError as error:
            log.warning("%s can't be written: %s", self.decisions.path, error)

    def _change(self, decide: Decide, cause: Cause, fences: Mapping[str, int]) -> tuple[Transition, ...]:
        def attempt(before: Snapshot) -> _Attempt:
            switches = Edit(before.text, self.parsed(before), self._seed_file)
            changes = list(decide(switches.before))
            if any(before.fences.get(name, 0) > term for name, term in fences.items()):
                changes = []  # who drives the promotions now knows more
            for change in changes:
                if change.settings:
                    switches.set(change.key, **change.settings)
            switches.apply()
            pairs = [(switches.before.for_route(each.key), switches.after.for_route(each.key)) for each in changes]
            transitions = tuple(Transition(each.key, *pair) for each, pair in zip(changes, pairs, strict=True))
            return _Attempt(switches.text(), events_of(transitions, changes, cause), transitions)

        return self._write(attempt, fences)

    def replace(self, text: str, cause: Cause, *, knowing: int | None = None) -> tuple[Transition, ...]:
        """Make ``text`` the switches of all; what has changed. ``knowing`` is the revision that it was made from.

        Raises OperationRefused where the fleet has come further, RouteHeld where a held route would go up, and
        SwitchesError.
        """
        new = parse(text, self._seed_file)

        def attempt(before: Snapshot) -> _Attempt:
            if knowing is not None and before.revision != knowing:
                raise OperationRefused(
                    f"{self.place} has come to revision {before.revision}, and this is made from revision {knowing}. "
                    "See what is new there: graft switches diff. Then pull again; or push all the same, with --force."
                )
            old = self.parsed(before)
            transitions = tuple(Transition(key, old.for_route(key), new.for_route(key)) for key in {**old, **new})
            for each in transitions:
                if each.after.hold is not None and each.after.share > each.before.share:
                    refuse_if_held(each.key, each.before)
            names = [each.name for each in fields(Switch)]
            found = [(each, Event.of(each, names, cause)) for each in transitions]
            changed = [(each, event) for each, event in found if event is not None]
            return _Attempt(text, [event for _, event in changed], tuple(each for each, _ in changed))

        return self._write(attempt, {})

    def last_good(self) -> Switches:
        return self.on_this_host()

    def set_broken_aside(self, *, or_empty: bool) -> str | None:
        """What is put in their place is what this host knew last."""
        before = self.cluster.read()
        if before is None:
            return None
        try:
            self.parsed(before)
            return None
        except SwitchesBroken:
            known = self.last_known.snapshot()
            if known is None and not or_empty:
                raise
        aside = self.last_known.folder / f"switches.broken-{before.revision}.toml"
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            files.replace(aside, before.text.encode())
        except OSError as error:
            raise SwitchesError(str(aside), f"can't be written: {error.strerror}", "Let Graft write there.") from None
        text = known.text if known is not None else ""
        try:
            self.keep(self._put(before.next(text, (), self._unrecorded(before), {})))
        except Conflict:
            return None  # somebody has just put good ones there
        return str(aside)

    def _write(self, attempt: Any, fences: Mapping[str, int]) -> tuple[Transition, ...]:
        """Try until nobody else was quicker. Raises FleetUnavailable."""
        tried: _Attempt | None = None
        for number in range(MOST_TRIES):
            before = self.cluster.read() or self.seed()
            if tried is not None and tried.events and tried.events[0].id in {each["id"] for each in before.events}:
                self.keep(before)  # it had been written; what was lost is the answer
                return tried.transitions
            tried = made = attempt(before)
            if made.text == before.text and not made.events:
                self.keep(before)
                return tuple(made.transitions)
            try:
                after = self._put(before.next(made.text, made.events, self._unrecorded(before), fences))
            except Conflict:
                time.sleep(_JITTER.uniform(0, min(0.01 * 2 ** min(number, 6), LONGEST_PAUSE)))
                continue
            self.keep(after)
            self._record(after)
            return tuple(made.transitions)
        why = f"{MOST_TRIES} other changes were quicker"
        raise FleetUnavailable(f"fleet {self.cluster.name}", why, "Is a script changing it again and again?")

    def _put(self, snapshot: Snapshot) -> Snapshot:
        """Write it, and wake who waits for it. Raises Conflict and FleetUnavailable."""
        after = self.cluster.write(replace(snapshot, wakes=self._wakes))
        try:
            self.cluster.wake(after)
            self._wakes = True
        except FleetUnavailable as error:
            self._wakes = False
            log.warning("%s was changed, and the other hosts hear of it some seconds later: %s", self.place, error)
        return after

    def _fences(self, cause: Cause) -> Mapping[str, int] | None:
        """What the change has to be newer than: nothing for people and trips. None where this process may not make it
        any more."""
        lease = self._leases.get("promotion")
        if cause.by != PROMOTION or lease is None:
            return {}
        return {"promotion": term} if (term := lease.term()) is not None else None

    # -- the history ---------------------------------------------------------------------------------------------------

    def history(self, key: RouteKey | None = None, last: int = 100) -> list[Event]:
        """With what was decided on this host and the fleet has not yet."""
        waiting = [each.event for each in reversed(self.decisions.read()) if key in (None, each.key)]
        snapshot = self.cluster.read()
        newest = [Event.of_data(each) for each in reversed(snapshot.events if snapshot is not None else ())]
        found = [*waiting, *(each for each in newest if key in (None, each.key)), *self.cluster.newest(key, last)]
        return list({each.id: each for each in found}.values())[:last]

    def newest_mark(self) -> Mark:
        snapshot = self.cluster.read()
        return {"revision": snapshot.revision if snapshot is not None else 0, "number": MOST_EVENTS}

    def changes_after(self, mark: Mark, most: int) -> list[tuple[Event, Mark]]:
        revision, number = int(mark.get("revision", 0)), int(mark.get("number", 0))
        if self._follows and self.last_known.read().revision < revision + (number < MOST_EVENTS):
            return []  # nothing can have come, so nothing is asked
        snapshot = self.cluster.read()
        found = {each["id"]: each for each in self.cluster.after(revision, number, most)}
        for each in snapshot.events if snapshot is not None else ():
            if (each["revision"], each["number"]) > (revision, number):
                found.setdefault(each["id"], each)
        ordered = sorted(found.values(), key=lambda each: (each["revision"], each["number"]))[:most]
        return [(Event.of_data(each), {"revision": each["revision"], "number": each["number"]}) for each in ordered]

    def _unrecorded(self, before: Snapshot) -> Sequence[Mapping[str, Any]]:
        """See that what ``before`` tells is in the history; what it could not take."""
        if before.revision == self._recorded or not before.events:
            return ()
        try:
            self.cluster.record(before.events)
        except FleetUnavailable:
            return before.events
        return ()

    def _record(self, after: Snapshot) -> None:
        try:
            self.cluster.record(after.events)
            self._recorded = after.revision
        except FleetUnavailable as error:
            log.warning("%s was changed, and its history takes that later: %s", self.place, error)

    def places(self, name: str, path: Path) -> FleetLease:
        return self.lease(name)

    def lease(self, name: str) -> FleetLease:
        if name not in self._leases:
            self._leases[name] = self.keeper.lease(name)
        return self._leases[name]


def _transition(before: Switches, change: Change) -> Transition:
    switch = before.for_route(change.key)
    return Transition(change.key, switch, replace(switch, **change.settings))


def _gave_way(decision: Decision, before: Snapshot) -> Event:
    event, revision = decision.event, before.revisions[str(decision.key)]
    told = f": {event.why}" if event.why else ""
    why = f"{event.operation} on {event.host} after revision {decision.base}{told}; revision {revision} is newer"
    return replace(event, operation=GAVE_WAY, why=why, before={}, after={})


class OfThisHost(FleetState):
    """The same, but a change holds on this host at once and goes to the fleet when that can be reached."""

    def read(self) -> Switches:
        return self.on_this_host()

    def set_broken_aside(self, *, or_empty: bool) -> str | None:
        return None  # what this host goes by is good

    def change(self, decide: Decide, cause: Cause) -> tuple[Transition, ...]:
        transitions = self.decide_here(decide, cause)
        try:
            self.send_decisions()
        except FleetUnavailable as error:
            log.info("%s", error)
        return transitions
