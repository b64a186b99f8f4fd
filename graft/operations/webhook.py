"""Webhooks: every change of a route is sent to the addresses of ``GRAFT_WEBHOOK``, once a host, signed.

The history is what is sent: who changed something, a command with the gateway down too, has nothing to do for it. One
worker of the host follows it for all, and keeps for each address how far it has come, so a restart loses nothing and
repeats nothing that was taken. An address that takes nothing is asked again, later and later, until the change is a day
old; the others do not wait for it, and no request ever does.

Signed by the rules of https://www.standardwebhooks.com, whose libraries verify it; docs/webhook.md has the JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from graft import __version__
from graft.cancellation import cancel_and_wait
from graft.chance import CHANCE
from graft.errors import GraftError
from graft.mirroring.redact import Redactor
from graft.mirroring.redaction_key import redaction_key
from graft.operations.state import Event, Mark, Places, State
from graft.operations.webhook_message import message_of, secret_bytes, signature, webhook_secret
from graft.settings import Settings
from graft.threads.starting import NoThread

if TYPE_CHECKING:
    from aiohttp import ClientSession

EVERY_SECONDS = 1.0
TIMEOUT_SECONDS = 10.0
LAST_SECONDS = 3.0
"""What is on its way when a worker ends has so long."""

LONGEST_WAIT = 300.0
LONGEST_AGE = 86_400.0
"""Seconds after which a change that was not taken is given up."""

REFUSED = frozenset({400, 410, 413, 415, 422})
"""What says that this message will never be taken."""

AT_ONCE = 100

log = logging.getLogger("graft.webhook")


@asynccontextmanager
async def webhook(settings: Settings, state: State, leaves: Callable[[], bool]) -> AsyncIterator[None]:
    """For the lifespan: send what changes to the addresses of the settings, if there are any. (event loop)"""
    if not settings.webhook:
        yield
        return
    secret = secret_bytes(await asyncio.to_thread(webhook_secret, settings))
    redactor = Redactor(key=await asyncio.to_thread(redaction_key, settings.data))
    place = settings.data / "webhook.json"
    async with Webhook(settings.webhook, secret, state, place, redactor, leaves=leaves).running():
        yield


class Webhook:
    """Sends the history of ``state`` to ``urls``. ``place`` is the file that has how far each of them has come.

    On the event loop of each worker; the one that holds the lease sends. One that ``leaves`` leaves it to others, which
    may have other settings after a reload.
    """

    def __init__(
        self,
        urls: tuple[str, ...],
        secret: bytes,
        state: State,
        place: Path,
        redactor: Redactor,
        *,
        every: float = EVERY_SECONDS,
        leaves: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._lease = state.lease("webhook")
        self._every = every
        self._leaves = leaves
        self._ends = asyncio.Event()
        self._kept = state.places("webhook", place)
        self._addresses = [_Address(url, secret, state, self._kept, redactor, clock) for url in urls]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send until the block ends. What is on its way then is waited for: else it would be sent a second time."""
        self._ends.clear()
        task = asyncio.create_task(self._run(), name="graft-webhook")
        try:
            yield
        finally:
            self._ends.set()
            await asyncio.wait([task], timeout=LAST_SECONDS)
            await cancel_and_wait([task])
            self._lease.give_back()

    def _is_over(self) -> bool:
        return self._ends.is_set() or self._leaves()

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            session: ClientSession | None = None
            sending: dict[_Address, asyncio.Task[None]] = {}
            try:
                while not self._ends.is_set():
                    with suppress(NoThread):
                        if self._leaves():
                            await asyncio.gather(*sending.values())  # else the next one would send them once more
                            self._lease.give_back()
                        elif await asyncio.to_thread(self._lease.take):
                            if session is None:
                                session = await stack.enter_async_context(_session())
                            for address in self._addresses:
                                if address not in sending or sending[address].done():
                                    sending[address] = asyncio.create_task(address.send(session, self._is_over))
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._ends.wait(), self._every)
                await asyncio.gather(*sending.values())
            finally:
                await cancel_and_wait(sending.values())


class _Address:
    """One URL, and how far it has come."""

    def __init__(
        self,
        url: str,
        secret: bytes,
        state: State,
        kept: Places,
        redactor: Redactor,
        clock: Callable[[], float],
    ) -> None:
        self._url = url
        parts = urlsplit(url)
        self._name = f"{parts.scheme}://{parts.hostname}"  # the rest of it may be what opens it
        self._id = hashlib.sha256(url.encode()).hexdigest()[:16]
        self._secret = secret
        self._state = state
        self._kept = kept
        self._redactor = redactor
        self._clock = clock
        self._tries = 0
        self._again_at = 0.0

    async def send(self, session: ClientSession, is_over: Callable[[], bool]) -> None:
        """Send what has not been taken yet, until nothing is left, one is not taken, or it ``is_over``.
        Raises nothing."""
        if self._clock() < self._again_at:
            return
        try:
            while pending := await asyncio.to_thread(self._pending):
                for event, mark in pending:
                    if is_over():
                        return
                    if not await self._deliver(session, event):
                        return
                    await asyncio.to_thread(self._kept.keep, self._id, mark)
        except (GraftError, OSError) as error:
            self._postpone(f"{error}")
        except Exception:
            log.exception("a change could not be sent to %s; it is tried again", self._name)
            self._wait()

    def _pending(self) -> list[tuple[Event, Mark]]:
        mark = self._kept.of(self._id)
        if mark is None:  # an address that is new hears of what comes from now on
            self._kept.keep(self._id, self._state.newest_mark())
            return []
        return self._state.changes_after(mark, AT_ONCE)

    async def _deliver(self, session: ClientSession, event: Event) -> bool:
        """Whether the next one may follow: this one was taken, or is given up."""
        body = await asyncio.to_thread(message_of, event, self._redactor)
        status, problem = await self._post(session, event.id, body)
        if problem is None:
            if self._tries:
                log.info("%s takes changes again", self._name)
            self._tries, self._again_at = 0, 0.0
            return True
        if status in REFUSED:
            log.error("%s refuses the change %s of %s for good: %s", self._name, event.id, event.key, problem)
            return True
        if self._clock() - event.at.timestamp() > LONGEST_AGE:
            log.error("%s has not taken the change %s of %s for a day: %s", self._name, event.id, event.key, problem)
            return True
        self._postpone(problem)
        return False

    async def _post(self, session: ClientSession, id: str, body: bytes) -> tuple[int, str | None]:
        """The status, 0 for none, and what is wrong with it."""
        from aiohttp import ClientError

        timestamp = str(int(self._clock()))
        headers = {
            "content-type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature(self._secret, id, timestamp, body),
        }
        try:
            async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                return answer.status, None if 200 <= answer.status < 300 else f"it answered {answer.status}"
        except TimeoutError:
            return 0, f"no answer within {TIMEOUT_SECONDS:g} s"
        except (ClientError, OSError, ValueError) as error:
            return 0, self._without_url(f"{type(error).__name__}: {error}")

    def _without_url(self, text: str) -> str:
        return text.replace(self._url, self._name)

    def _postpone(self, problem: str) -> None:
        if not self._tries:  # one line for all that it does not take until it takes one again
            log.warning("%s does not take changes: %s. They are kept and sent again", self._name, problem)
        self._wait()

    def _wait(self) -> None:
        self._tries += 1
        wait = min(2.0 ** min(self._tries, 16), LONGEST_WAIT)
        self._again_at = self._clock() + wait * CHANCE.uniform(0.8, 1.2)


def _session() -> ClientSession:
    from aiohttp import ClientSession, ClientTimeout, DummyCookieJar

    # As ever with HTTP clients, HTTPS_PROXY and NO_PROXY of the environment hold.
    return ClientSession(
        timeout=ClientTimeout(total=TIMEOUT_SECONDS),
        headers={"user-agent": f"Graft/{__version__}"},
        cookie_jar=DummyCookieJar(),
        trust_env=True,
    )
