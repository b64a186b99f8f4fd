"""The connection to a fleet's cluster: its clients, and what their errors mean to whoever asks."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from elasticsearch import ApiError, AsyncElasticsearch, Elasticsearch, TransportError

from graft.chance import nothing_drawn
from graft.errors import FleetUnavailable, SettingError
from graft.fleet.indices import SETTINGS
from graft.search.client import addresses, credentials, reason, tls
from graft.settings import Settings

REQUEST_SECONDS = 2.0
"""Nobody waits for it but a command or the worker that asks for its host."""

MAKING_SECONDS = 15.0
"""For an index that is made: once a fleet, and once a month."""

LOCAL = 'To take a route back on this host alone: graft rollback "GET /path" --host.'


class Connection:
    """To the cluster of the fleet ``name``. Any thread, and any process after a fork."""

    def __init__(self, name: str, settings: Settings) -> None:
        if not settings.elasticsearch_url:
            mend = "Name the cluster that keeps it: ELASTICSEARCH_URL=https://HOST:PORT."
            raise SettingError("GRAFT_FLEET", f"found {name!r}, without ELASTICSEARCH_URL", mend)
        self.name = name
        self._settings = settings
        self._lock = threading.Lock()
        self._clients: dict[int, Elasticsearch] = {}
        self.addresses = addresses(self.client())
        self.place = f"fleet {name} ({self.addresses})"

    @contextmanager
    def asking(self) -> Iterator[Elasticsearch]:
        """A client whose errors, and whose answers of another kind, leave the block as FleetUnavailable."""
        client = self.client()
        with quiet():
            try:
                yield client
            except (ApiError, TransportError) as error:
                raise self._unavailable(reason(error, client)) from error
            except (LookupError, TypeError, AttributeError, ValueError) as error:  # an answer of another kind
                raise self._unavailable(f"{self.addresses}: {error}") from error

    def _unavailable(self, why: str) -> FleetUnavailable:
        return FleetUnavailable(f"fleet {self.name}", why, LOCAL)

    def client(self) -> Elasticsearch:
        """One for the process: connections don't pass a fork."""
        with self._lock:
            client = self._clients.get(os.getpid())
            if client is None:
                client = self._clients[os.getpid()] = self._sync_client()
            return client

    def _sync_client(self) -> Elasticsearch:
        hosts = list(self._settings.elasticsearch_url)
        try:
            return Elasticsearch(
                hosts,
                request_timeout=REQUEST_SECONDS,
                connections_per_node=2,
                max_retries=max(1, len(hosts) - 1),
                retry_on_timeout=len(hosts) > 1,  # a node that hangs is not the cluster
                retry_on_status=(502, 503, 504),
                http_compress=True,  # a thousand routes are a tenth of their size
                **credentials(self._settings),
                **tls(self._settings),
            )
        except ValueError as error:
            raise SettingError("ELASTICSEARCH_URL", f"{error}", "Write https://HOST:PORT.") from None

    def waiting_client(self) -> AsyncElasticsearch:
        """One that tries nothing again, for the event loop that closes it: a thread that waits could not be stopped."""
        with nothing_drawn():  # the client shuffles its hosts
            return AsyncElasticsearch(
                list(self._settings.elasticsearch_url),
                connections_per_node=1,
                max_retries=0,
                **credentials(self._settings),
                **tls(self._settings),
            )

    @staticmethod
    def make(client: Elasticsearch, index: str, mappings: Mapping[str, Any]) -> None:
        if not client.indices.exists(index=index):
            # 400: another host has just made it.
            client.options(ignore_status=400, request_timeout=MAKING_SECONDS).indices.create(
                index=index, mappings=mappings, settings=SETTINGS
            )


_asks: ContextVar[bool] = ContextVar("graft.fleet.asks", default=False)


@contextmanager
def quiet() -> Iterator[None]:
    """What the client says of each try that fails is not logged: a cluster that is down for a night would fill the
    app's log. Whoever asked says it once. What others ask with that package is their own."""
    token = _asks.set(True)
    try:
        yield
    finally:
        _asks.reset(token)


def _is_not_ours(record: logging.LogRecord) -> bool:
    return not _asks.get()


for _name in ("elastic_transport.transport", "elastic_transport.node_pool", "elastic_transport.node"):
    logging.getLogger(_name).addFilter(_is_not_ours)
