"""What is decided on one host alone, while the cluster is away or for this host at once, and how all have it later."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from graft.errors import SwitchesError
from graft.fleet.cluster import Cluster
from graft.fleet.commits import Attempt, Commits
from graft.fleet.decisions import Decision, Decisions
from graft.fleet.snapshot import Snapshot
from graft.operations.edits import Edit
from graft.operations.state import Cause, Event, Transition
from graft.operations.state import Decision as Decide
from graft.operations.switches import Switches

GAVE_WAY = "gave way"
"""The operation of an event that tells of a decision which a newer one had overtaken."""

log = logging.getLogger("graft.fleet")


class HostDecisions:
    """``parsed`` reads the text of a snapshot; ``file`` is what its lines are called in messages. The methods block;
    any thread."""

    def __init__(
        self,
        cluster: Cluster,
        decisions: Decisions,
        commits: Commits,
        parsed: Callable[[Snapshot], Switches],
        file: Path,
    ) -> None:
        self._cluster = cluster
        self._decisions = decisions
        self._commits = commits
        self._parsed = parsed
        self._file = file

    def decide(self, decide: Decide, cause: Cause, before: Switches, base: int) -> tuple[Transition, ...]:
        """Keep the change for this host; ``before``, of revision ``base`` of the fleet, is what it goes by. Raises
        SwitchesError."""
        changes = list(decide(before))
        switches = [before.for_route(change.key) for change in changes]
        transitions = tuple(
            Transition(change.key, switch, replace(switch, **change.settings))
            for change, switch in zip(changes, switches, strict=True)
        )
        decisions = [
            Decision(event, change.settings, base)
            for transition, change in zip(transitions, changes, strict=True)
            if (event := Event.of(transition, change.settings, cause)) is not None
        ]
        try:
            self._decisions.add(decisions)
        except OSError as error:
            mend = "Let Graft write there."
            raise SwitchesError(str(self._decisions.path), f"can't be written: {error}", mend) from None
        return transitions

    def send(self) -> None:
        """Give the fleet what was decided here. Raises FleetUnavailable."""
        if not (decisions := self._decisions.read()):
            return

        def attempt(before: Snapshot) -> Attempt:
            there = {event["id"] for event in before.events}
            there |= self._cluster.recorded([each.event.id for each in decisions])
            switches = Edit(before.text, self._parsed(before), self._file)
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
            return Attempt(switches.text(), events)

        self._commits.make(attempt, {})
        try:
            self._decisions.drop(decisions)
        except OSError as error:
            log.warning("%s can't be written: %s", self._decisions.path, error)


def _gave_way(decision: Decision, before: Snapshot) -> Event:
    event, revision = decision.event, before.revisions[str(decision.key)]
    told = f": {event.why}" if event.why else ""
    why = f"{event.operation} on {event.host} after revision {decision.base}{told}; revision {revision} is newer"
    return replace(event, operation=GAVE_WAY, why=why, before={}, after={})
