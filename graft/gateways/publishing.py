"""A gateway's own record, from the first worker that serves to the end of the server.

Each worker writes it when it starts, all the same one: only a worker knows the settings that a program passes to
``graft.gateway()``, and a worker that starts after HUP knows those of now. Gunicorn's master removes it at its end, a
server of one process with its lifespan. What is left behind by ``kill -9`` tells by its pid and start time that it is
no longer true, and is removed by the next gateway.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from graft import __version__, files
from graft.gateways import places, server
from graft.gateways.record import GatewayRecord, start_of
from graft.kept_secrets import keeping_secrets
from graft.settings import Settings

__all__ = ["Publication", "publishing"]

log = logging.getLogger("graft")


@asynccontextmanager
async def publishing(settings: Settings) -> AsyncIterator[None]:
    """Keep the record, and the secrets beside it, in the data folder until the block ends. (event loop)"""
    record = Publication(settings)
    await asyncio.to_thread(record.write)
    try:
        async with keeping_secrets(settings.data, record.restore):
            yield
    finally:
        await asyncio.to_thread(record.end)


class Publication:
    """The record of this worker's gateway. Its methods block; one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server = server.pid()
        self._folder = settings.data / places.FOLDER
        self._failing = False

    def write(self) -> None:
        """Raises no OSError: what fails is logged once."""
        record = self._record()
        if record is None:  # the server has ended meanwhile
            return
        path = self._folder / record.name
        try:
            text = record.text().encode()
            if _content(path) != text:
                files.make_folder_in_data(self._folder)
                files.replace(path, text)
            _clear(self._folder)
            _link(path)
            self._failing = False
        except OSError as error:
            if not self._failing:
                self._failing = True
                log.warning("the command line can't find this gateway: %s: %s", self._folder, error.strerror)

    def restore(self) -> None:
        """Write it again where somebody took it away. What another worker wrote stays: after HUP that one is newer."""
        if not (self._folder / f"{socket.gethostname()}-{self._server}.json").exists():
            self.write()

    def end(self) -> None:
        """Remove it where this process is the whole server."""
        if self._server == os.getpid():
            server.remove_record(self._settings.data)

    def _record(self) -> GatewayRecord | None:
        started = start_of(self._server)
        if started is None:
            return None
        settings = self._settings
        named = {
            "GRAFT_DATA": str(settings.data),
            "GRAFT_SWITCHES": str(settings.switches),
            "GRAFT_LEGACY": settings.legacy,
            "GRAFT_NATIVE": settings.native,
            "GRAFT_LEGACY_PREFIX": settings.legacy_prefix,
            **({"GRAFT_FLEET": settings.fleet} if settings.fleet is not None else {}),
        }
        host, addresses = socket.gethostname(), server.addresses(settings)
        return GatewayRecord(self._server, started, host, __version__, settings.folder, addresses, named)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _link(record: Path) -> None:
    """At the first place that this process may write to; a gateway that has none is found by its data folder."""
    for place in places.links_to_write():
        link = place / places.FOLDER / record.name
        try:
            link.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            if not link.is_symlink() or os.readlink(link) != str(record):
                link.unlink(missing_ok=True)
                link.symlink_to(record)
            _clear(link.parent)
        except FileExistsError:  # another worker was quicker
            return
        except OSError:
            continue
        return


def _clear(folder: Path) -> None:
    """Remove what gateways of this host have left behind that ended without a word."""
    for path in folder.glob(f"{socket.gethostname()}-*.json"):
        with suppress(OSError, ValueError):
            gone = path.is_symlink() and not path.exists()
            if gone or not GatewayRecord.of_text(path.read_text(encoding="utf-8")).is_running:
                path.unlink()
