"""The admin token and the redaction key, when somebody takes the data folder away from a running gateway.

This process goes on with those that it has. The next one would make others, and no worker would know the token of
another: so they are written again, into the folder that there is by then.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from graft import files
from graft.cancellation import cancel_and_wait
from graft.threads.starting import NoThread

LOOK = 2.0  # seconds
NAMES = ("admin-token", "redaction-key", "webhook-secret")

log = logging.getLogger("graft")


class KeptSecrets:
    """What ``folder`` has of NAMES. A file that alone is taken away stays away: that is how to get another token."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None  # of the folder: open, its number goes to no other one
        self._secrets: dict[str, bytes] = {}
        self._failing = False

    def look(self) -> None:
        """Learn what is there; write it again where the folder is gone or another one. Blocks. (one thread at a time)

        Raises no OSError: what fails is logged once, and tried at the next look.
        """
        try:
            if self._descriptor is not None and self._is_gone(self._descriptor):
                self._restore()
            if self._descriptor is None:
                self._descriptor = os.open(self._folder, os.O_RDONLY)
            for name in NAMES:
                if name not in self._secrets:
                    with suppress(FileNotFoundError):
                        self._secrets[name] = (self._folder / name).read_bytes()
            self._failing = False
        except OSError as error:
            if not self._failing:
                self._failing = True
                message = "the data folder %s can't be looked at or made anew: %s; it is tried again"
                log.error(message, self._folder, error.strerror)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_gone(self, descriptor: int) -> bool:
        try:
            return not os.path.samestat(self._folder.stat(), os.fstat(descriptor))
        except (FileNotFoundError, NotADirectoryError):
            return True

    def _restore(self) -> None:
        files.make_data_folder(self._folder)
        made = [
            name
            for name, secret in self._secrets.items()
            if not (self._folder / name).exists() and files.create(self._folder / name, secret, 0o600)
        ]
        self.close()
        if made:
            log.warning("%s was gone, or is another folder: wrote %s there again", self._folder, " and ".join(made))


@asynccontextmanager
async def keeping_secrets(folder: Path, *also: Callable[[], None]) -> AsyncIterator[None]:
    """A look every two seconds, in a thread, until the block ends; ``also`` is called in it. (event loop)"""
    secrets = KeptSecrets(folder)
    if os.name == "nt":  # it opens no folder, and takes away none that is in use
        yield
        return
    looks = (secrets.look, *also)
    await asyncio.to_thread(secrets.look)
    task = asyncio.create_task(_look_on(looks))
    try:
        yield
    finally:
        await cancel_and_wait([task])
        secrets.close()


async def _look_on(looks: Iterable[Callable[[], None]]) -> None:
    while True:
        await asyncio.sleep(LOOK)
        with suppress(RuntimeError, NoThread):  # the next time
            await asyncio.to_thread(_look, looks)


def _look(looks: Iterable[Callable[[], None]]) -> None:
    """All of them by one change of thread: while others want the interpreter, that costs more than the looks."""
    for look in looks:
        with suppress(RuntimeError, NoThread):
            look()
