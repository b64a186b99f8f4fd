"""The state of a fleet: ``State`` over one document in the cluster, with the last known one on this host's disk.

A change is read, decided, and written where nobody else wrote in between; else it is decided again on what the other
one left. So of two operators neither loses what he set, and who holds a route is seen by whoever would move it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import fields
from pathlib import Path
from typing import Any

from graft import files
from graft.connection.leaving import is_leaving
from graft.errors import FleetUnavailable, OperationRefused, SwitchesBroken, SwitchesError
from graft.figures.route_figures import RouteFigures
from graft.fleet.cluster import Cluster, Conflict
from graft.fleet.commits import Attempt, Commits
from graft.fleet.decisions import Decisions
from graft.fleet.fleet_baselines import FleetBaselines
from graft.fleet.fleet_history import FleetHistory
from graft.fleet.fleet_trips import FleetTrips, HostFailures
from graft.fleet.follower import FleetFollower
from graft.fleet.host_decisions import HostDecisions
from graft.fleet.keeper import Keeper
from graft.fleet.last_known import LastKnown
from graft.fleet.lease import FleetLease
from graft.fleet.publisher import EvidenceOf, Publisher, ShownOf
from graft.fleet.servers import Servers, own_server
from graft.fleet.snapshot import Snapshot
from graft.operations.edits import Edit
from graft.operations.shift import refuse_if_held
from graft.operations.state import PROMOTION, Cause, Event, Mark, Transition, events_of
from graft.operations.state import Decision as Decide
from graft.operations.switch import Switch
from graft.operations.switches import Switches, parse, read
from graft.settings import Settings
from graft.types import RouteKey

log = logging.getLogger("graft.fleet")


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
        self._history = FleetHistory(cluster, self.decisions, self.last_known)
        self._commits = Commits(cluster, self._history, self.seed, self.keep)
        self._host_decisions = HostDecisions(cluster, self.decisions, self._commits, self.parsed, seed)

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
            builds = self.servers.builds(own, server)
        except FleetUnavailable:
            return {}
        outliers = [each.as_data() for each in found]
        return {"hosts": len(living) + bool(own), "outliers": outliers, "builds": builds}

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
                snapshot = self._commits.put(self.seed())
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
        return self._host_decisions.decide(decide, cause, self.on_this_host(), self.last_known.read().revision)

    def send_decisions(self) -> None:
        """Give the fleet what was decided on this host. Raises FleetUnavailable."""
        self._host_decisions.send()

    def _change(self, decide: Decide, cause: Cause, fences: Mapping[str, int]) -> tuple[Transition, ...]:
        def attempt(before: Snapshot) -> Attempt:
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
            return Attempt(switches.text(), events_of(transitions, changes, cause), transitions)

        return self._commits.make(attempt, fences)

    def replace(self, text: str, cause: Cause, *, knowing: int | None = None) -> tuple[Transition, ...]:
        """Make ``text`` the switches of all; what has changed. ``knowing`` is the revision that it was made from.

        Raises OperationRefused where the fleet has come further, RouteHeld where a held route would go up, and
        SwitchesError.
        """
        new = parse(text, self._seed_file)

        def attempt(before: Snapshot) -> Attempt:
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
            return Attempt(text, [event for _, event in changed], tuple(each for each, _ in changed))

        return self._commits.make(attempt, {})

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
            self.keep(self._commits.put(before.next(text, (), self._history.unrecorded(before), {})))
        except Conflict:
            return None  # somebody has just put good ones there
        return str(aside)

    def _fences(self, cause: Cause) -> Mapping[str, int] | None:
        """What the change has to be newer than: nothing for people and trips. None where this process may not make it
        any more."""
        lease = self._leases.get("promotion")
        if cause.by != PROMOTION or lease is None:
            return {}
        return {"promotion": term} if (term := lease.term()) is not None else None

    # -- the history and the leases ------------------------------------------------------------------------------------

    def history(self, key: RouteKey | None = None, last: int = 100) -> list[Event]:
        return self._history.newest(key, last)

    def newest_mark(self) -> Mark:
        return self._history.newest_mark()

    def changes_after(self, mark: Mark, most: int) -> list[tuple[Event, Mark]]:
        return self._history.after(mark, most, follows=self._follows)

    def places(self, name: str, path: Path) -> FleetLease:
        return self.lease(name)

    def lease(self, name: str) -> FleetLease:
        if name not in self._leases:
            self._leases[name] = self.keeper.lease(name)
        return self._leases[name]
