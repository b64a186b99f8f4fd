"""The follower of a fleet: each worker follows the last known state of its host, and the keeper of one of them renews
that."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from graft.cancellation import cancel_and_wait
from graft.fleet.decisions import Decisions
from graft.fleet.last_known import LastKnown
from graft.operations.watcher import Watcher

if TYPE_CHECKING:
    from graft.fleet.keeper import Keeper

POLL_SECONDS = 0.1
FIRST_LOOK_SECONDS = 1.0
"""A worker that starts waits so long for the newest state: a host that was away has an old one."""


class FleetFollower(Watcher):
    """As a watcher of one file, which only Graft writes. ``problem`` is about that file: a cluster that does not answer
    is none of a worker's."""

    def __init__(self, last_known: LastKnown, decisions: Decisions, keeper: Keeper) -> None:
        self._keeper = keeper
        self._keeping: asyncio.Task[None] | None = None
        last_good = last_known.folder / "switches.last-good.toml"
        super().__init__(last_known.path, last_good, aside=decisions, poll=POLL_SECONDS, settle=0.0)

    async def __aenter__(self) -> Self:
        first = asyncio.create_task(asyncio.to_thread(self._keeper.look))
        await asyncio.wait([first], timeout=FIRST_LOOK_SECONDS)
        await self.look()
        self._keeping = asyncio.create_task(self._renew(first), name="graft-fleet")
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        if self._keeping is not None:
            await cancel_and_wait([self._keeping])
        await asyncio.to_thread(self._keeper.end)

    async def _renew(self, first: asyncio.Task[Any]) -> None:
        await first  # one thread at a time
        await self._keeper.run()
