"""Switching as a whole: a switchboard for each switched route, the switches they go by, and the mirror behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

from elasticsearch import AsyncElasticsearch

from graft.connection.leaving import is_leaving
from graft.figures import folders
from graft.figures.reader import Reader
from graft.figures.recorder import RECORDER
from graft.figures.route_figures import RouteFigures
from graft.flaskside.side import LegacySide
from graft.frameworks import HostedApp
from graft.gateways.publishing import publishing
from graft.mirroring.budget import Budget
from graft.mirroring.differences import DifferenceWriter, Origin, difference_store, redaction_of
from graft.mirroring.metering import metered
from graft.mirroring.mirror import Mirror
from graft.operations import open_state
from graft.operations.promoter import FiguresOf, Promoter
from graft.operations.switches import Switches
from graft.operations.trip import trip
from graft.operations.webhook import webhook
from graft.recordings.recorder import Recorder
from graft.recordings.redaction import RouteRedactors
from graft.routing.builds import Builds
from graft.routing.row_figures import row_figures
from graft.routing.table import Row
from graft.settings import Settings
from graft.switching.host_failures import HostFailures
from graft.switching.legacy_errors import with_legacy_errors
from graft.switching.shares import ClientKeys
from graft.switching.subtree_board import SubtreeBoard
from graft.switching.switchboard import Switchboard
from graft.switching.trip_counts import TripCounts
from graft.types import ANY, WEBSOCKET, ASGIApp, Receive, RouteKey, Scope, Send


class Switching:
    """Made once a worker. ``app`` makes what answers a native route, ``running`` is for the lifespan.

    ``state`` is where the switches are kept, which operations change; ``follower`` is this worker's copy of them, which
    every switchboard goes by. A trip goes the same way as a person's change: into ``state``, and back by ``follower``.
    """

    def __init__(self, settings: Settings, legacy: LegacySide) -> None:
        """Raises SwitchesError when switches.toml can't be read and no last good state of it is kept."""
        self._settings = settings
        self.state = open_state(settings)
        self.follower = self.state.follow()
        self._legacy = legacy
        self._mirror = Mirror(
            budget=Budget(settings.mirror_budget, crowded=lambda: legacy.mount.pool.stats().waiting > 0)
        )
        self._client_keys = ClientKeys(legacy.app, settings.log_user)
        legacy.mirror.app = metered(legacy.mirror.app)
        self._rows: dict[RouteKey, Row] = {}
        self._switched: set[RouteKey] = set()
        self._counts = TripCounts()
        self._builds = Builds(settings.version)
        self._figures = Reader()
        self._promoter = Promoter(
            self.state,
            self.follower,
            self._figures_of_now,
            folders.server_name(),
            leaves=is_leaving,
            routes=self._switched,
        )

    def app(self, row: Row, native: ASGIApp) -> ASGIApp:
        """The app that answers one method of a native route, or all below a mount: a switchboard where the legacy
        side has it too.

        The legacy app's checks run around a switched route, unless its switch says ``hooks = false``, and around a
        native-only one whose switch says ``hooks = true``.
        """
        self._rows.setdefault(row.key, row)
        if row.switched:
            self._switched.add(row.key)
            RECORDER.builds[str(row.key)] = self._builds.of(row)
        plain = self._legacy.around(native, *row.rules)
        checked = self._legacy.around(native, *row.rules, checks=True)
        if row.beneath:
            return self._subscribed(self._subtree_board(row.key, plain, checked))
        if row.legacy is not None:
            mirror = None if row.key.method == WEBSOCKET else self._mirror
            return self._subscribed(self._board(row.key, plain, checked, mirror))
        return (
            plain
            if checked is plain and not _may_raise_errors(row)
            else self._subscribed(NativeOnly(row.key, plain, checked))
        )

    @asynccontextmanager
    async def running(self, elasticsearch: AsyncElasticsearch) -> AsyncIterator[None]:
        """For the lifespan: follow the switches, mirror, keep what differs where the settings say, and what the data
        folder has to have while this worker runs."""
        store = difference_store(self._settings, elasticsearch)
        origin = Origin(environment=self._settings.environment)
        redaction = redaction_of(self._settings)
        redactors = partial(self._redactors, redaction.key)
        slices = self._mirror.comparisons.slices
        recorder = Recorder(self._settings, self._legacy.mount, self._legacy.rules, redactors, slices)
        async with (
            self.follower,
            DifferenceWriter(store, redaction=redaction, slices=slices, origin=origin) as differences,
            self._mirror,
            recorder.running(),
            publishing(self._settings),
            self._counts.shared(folders.shared),
            self._promoter.running(),
            self.state.publishing(self._evidence, self._figures.now),
            self.state.counting(HostFailures(self._counts, partial(trip, self.state))),
            webhook(self._settings, self.state, is_leaving),
        ):
            self._mirror.keep_in(differences)
            yield

    def _redactors(self, key: bytes) -> RouteRedactors:
        return RouteRedactors(self._rows.values(), self.follower.switches, key)

    async def _figures_of_now(self) -> FiguresOf:
        by_key = await self._by_key()
        return lambda key: by_key.get(key) or RouteFigures()

    async def _evidence(self) -> Mapping[RouteKey, RouteFigures]:
        by_key = await self._by_key()
        return {key: by_key.get(key) or RouteFigures() for key in self._switched}

    async def _by_key(self) -> Mapping[RouteKey, RouteFigures]:
        figures = row_figures(self._rows.values(), await self._figures.evidence())
        return {key: each for (key, _), each in figures.items()}

    def _subtree_board(self, key: RouteKey, plain: ASGIApp, checked: ASGIApp) -> SubtreeBoard:
        has_path = self._legacy.has_path
        assert has_path is not None, "there are rules beneath, so there is a Flask app"
        return SubtreeBoard(partial(self._board, key, plain, checked), self._mirror, plain, checked, has_path)

    def _board(
        self, key: RouteKey, plain: ASGIApp, checked: ASGIApp, mirror: Mirror | None, websocket: bool = False
    ) -> Switchboard:
        return Switchboard(
            key,
            plain,
            _mounted(self._legacy.mount, self._legacy.prefix),
            checked=checked,
            legacy_mirror=_mounted(self._legacy.mirror, self._legacy.prefix),
            mirror=mirror,
            record_trip=partial(trip, self.state),
            counts=self._counts,
            client_keys=self._client_keys,
            websocket=websocket,
        )

    def _subscribed(self, app: _SwitchedApp) -> ASGIApp:
        self.follower.subscribe(app.follow)
        return app


def _mounted(legacy: ASGIApp, prefix: str) -> ASGIApp:
    """``legacy`` for a request that came by a native route: where it is mounted at ``prefix``, Starlette's mount would
    have put that into the scope."""
    if not prefix:
        return legacy

    def call(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        root_path = scope.get("root_path", "")
        app_root_path = scope.get("app_root_path", root_path)
        return legacy({**scope, "root_path": root_path + prefix, "app_root_path": app_root_path}, receive, send)

    return call


def _may_raise_errors(row: Row) -> bool:
    app = getattr(row.native.route, "app", None) if row.native is not None else None
    return row.key.method == ANY or (isinstance(app, HostedApp) and app.raises_errors)


class NativeOnly:
    """A native-only route: the app's checks run around it where the switches say ``hooks = true``, and the app tells
    its errors where they say ``errors = "legacy"``."""

    def __init__(self, key: RouteKey, plain: ASGIApp, checked: ASGIApp) -> None:
        self.key = key
        self._plain = plain
        self._checked = checked
        self._app = plain

    def follow(self, switches: Switches) -> None:
        switch = switches.for_route(self.key)
        app = self._checked if switch.hooks else self._plain
        self._app = with_legacy_errors(app) if switch.errors == "legacy" else app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._app(scope, receive, send)


class _SwitchedApp(Protocol):
    """An ASGI app that goes by the switches from one request to the next."""

    def follow(self, switches: Switches) -> None: ...

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]: ...
