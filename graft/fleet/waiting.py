"""Waiting for the fleet's next change: one request that the cluster answers when there is one, not many that ask.

Who has changed revision 42 sets an alias that says so, ``graft-fleet-past.shop.9f86d081.42``. Elasticsearch answers for
the health of an index or alias that is not there yet when it comes to be, or when the time that was named is over. So
a host that knows revision 42 asks for the health of that alias: no other change in the cluster wakes it, and it is
woken, too, where the change was made before it asked.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from graft.fleet.connection import Connection, quiet
from graft.search.client import reason

GRACE_SECONDS = 3.0
"""An answer that is so late does not come: its connection is gone, and nobody has said so."""

MOST_FAILURES = 2
"""A wait may break off when a node goes; where it breaks off again, something on the way does not have it."""

ASK_SECONDS, LONGEST_ASK_SECONDS = 60.0, 600.0
"""So long nobody waits after that, twice as long each time."""

log = logging.getLogger("graft.fleet")


class Waiting:
    """On the loop of the worker that asks for its host."""

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._client: AsyncElasticsearch | None = None
        self._failures = 0
        self._not_until = float("-inf")
        self._pause = ASK_SECONDS

    @property
    def works(self) -> bool:
        """Whether it is worth trying."""
        return self._clock() >= self._not_until

    async def until(self, alias: str, seconds: float) -> bool:
        """Whether ``alias`` has come to be, within ``seconds``. Raises nothing."""
        began = self._clock()
        try:
            with quiet():
                has_come = await self._asked(alias, seconds)
        except (ApiError, TransportError) as error:
            self._has_failed(reason(error, self._opened()))
            return False
        except (LookupError, TypeError, AttributeError, ValueError) as error:  # an answer of another kind
            self._has_failed(f"{self._connection.addresses}: {error}")
            return False
        if not has_come and (waited := self._clock() - began) < seconds / 2:
            self._has_failed(f"{self._connection.addresses} answers after {waited:.1f} s of {seconds:.0f}")
            return False
        self._failures, self._pause = 0, ASK_SECONDS
        return has_come

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _asked(self, alias: str, seconds: float) -> bool:
        # 408 is how the cluster says that the time is over.
        client = self._opened().options(request_timeout=seconds + GRACE_SECONDS, ignore_status=408)
        answer = await client.cluster.health(index=alias, timeout=f"{seconds * 1000:.0f}ms", filter_path="timed_out")
        return not answer["timed_out"]

    def _opened(self) -> AsyncElasticsearch:
        if self._client is None:
            self._client = self._connection.waiting_client()
        return self._client

    def _has_failed(self, why: str) -> None:
        self._failures += 1
        if self._failures < MOST_FAILURES:
            return
        if self._pause == ASK_SECONDS:
            log.warning(
                "%s can't be waited for: %s. This host asks again and again instead, and tries it now and then",
                self._connection.place,
                why,
            )
        self._failures = 0
        self._not_until = self._clock() + self._pause
        self._pause = min(2 * self._pause, LONGEST_ASK_SECONDS)
