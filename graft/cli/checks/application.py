"""Checks of what is served: the legacy app, its async parts, the native routes, switches.toml, search."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from inspect import iscoroutinefunction, unwrap
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask

from graft.cli.checks import Findings, error, of_error, ok, warning
from graft.control.offline import quietly
from graft.errors import GraftError
from graft.flaskside.async_clients import is_client, own_modules
from graft.flaskside.loading import load, placed_apps
from graft.flaskside.rules import LegacyRule, legacy_rules
from graft.flaskside.users import USER_ID, has_login
from graft.operations import open_state
from graft.operations import switches as switch_file
from graft.routing.native import NativeRoute, discover
from graft.routing.overlapping_routes import notes
from graft.routing.table import RouteTable
from graft.search.client import FILE, addresses, open_client, probe
from graft.settings import Settings

WEAK_KEYS = frozenset({"dev", "development", "secret", "secret-key", "secret_key", "changeme", "change-me", "password"})


class Application:
    """What the checks find out and hand on; one for a run. Each method is a check."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: Flask | None = None
        self._loaded = False
        self._rules: tuple[LegacyRule, ...] = ()
        self._natives: tuple[NativeRoute, ...] | None = None

    def legacy_app(self) -> Findings:
        target = self._settings.legacy
        try:
            wsgi_app = quietly(lambda: load(target))
        except GraftError as raised:
            yield of_error("legacy app", raised)
            return
        self._loaded = True
        apps = placed_apps(wsgi_app, self._settings.legacy_prefix)
        if not apps:
            mend = "It is served, but not switched route by route: that needs Flask's url_map."
            yield warning("legacy app", f"{target} is a WSGI app without Flask", mend)
            return
        self._app = apps[0][1]
        self._rules = tuple(rule for path, app in apps for rule in legacy_rules(app, path))
        yield ok("legacy app", f"{target}, {_counted(self._rules, 'rule')}")
        yield from _configuration(self._app)

    def threads(self) -> Findings:
        settings = self._settings
        at_once, waiting = settings.legacy_threads, settings.legacy_queue
        limits = "GRAFT_LEGACY_THREADS, GRAFT_LEGACY_QUEUE"
        yield ok(
            "threads", f"{at_once} requests at once and {waiting} waiting in each worker, above that 503 ({limits})"
        )

    def async_views(self) -> Findings:
        if self._app is None:
            return
        found = sorted(name for name, view in self._app.view_functions.items() if iscoroutinefunction(unwrap(view)))
        if found:
            yield ok("async views", f"{_listed(found)}: they run on one loop that stays, whatever the request")
        else:
            yield ok("async views", "none")

    def async_clients(self) -> Findings:
        """Clients that are bound to the loop of their first request: what breaks Flask's own async views."""
        if self._app is None:
            return
        found = [f"{name} ({kind})" for name, kind in async_clients(self._app, self._settings.legacy)]
        views = [view for view in self._app.view_functions.values() if iscoroutinefunction(unwrap(view))]
        if not found:
            yield ok("async clients", "none at module level")
        elif views:
            message = (
                f"{_listed(found)}: fine here, where async views share a loop; plain Gunicorn breaks from request 2 on"
            )
            yield ok("async clients", message)
        else:
            mend = "Await them in async views, which share a loop here; asyncio.run in a sync view makes one a request."
            yield warning("async clients", f"{_listed(found)}, but no view is async", mend)

    def native_routes(self) -> Findings:
        try:
            self._natives = quietly(lambda: discover(self._settings.native))
        except GraftError as raised:
            yield of_error("native routes", raised)
            return
        table = RouteTable(self._natives, self._rules)
        switched = sum(row.switched for row in table)
        keys = [key for native in self._natives for key in native.keys]
        yield ok("native routes", f"{self._settings.native}, {_counted(keys, 'route')}, {switched} of them switched")
        for (key, _), of_row in notes(table).items():
            for note in of_row:
                yield warning(
                    "native routes", f"{key}: {note}", "Is that meant? If not, change the path or the method."
                )

    def switches(self) -> Findings:
        if self._settings.fleet is not None:
            yield from self._fleet()
            return
        path = self._settings.switches
        try:
            found = switch_file.load(path)
        except GraftError as raised:
            yield of_error("switches", raised)
            return
        there = f"{path}, {_counted(found, 'route')}" if path.exists() else f"{path} is not there yet: all start dark"
        yield ok("switches", there)
        if not os.access(_writable_place(path), os.W_OK):
            mend = "Let Graft write there, or change it where it is shipped from; trips are kept by each worker alone."
            yield warning("switches", f"{path} can't be written by this user", mend)
        yield from self._entries(found)

    def _fleet(self) -> Findings:
        state = open_state(self._settings)
        found = state.read()
        yield ok("switches", f"{state.place}, {_counted(found, 'route')}")
        yield from self._entries(found)

    def search(self) -> Findings:
        if not self._settings.elasticsearch_url and not (engine := self._settings.data / FILE).exists():
            yield ok("search", f"embedded engine: graft index or the first document makes {engine}")
            return
        try:
            yield from asyncio.run(self._probe())
        except GraftError as raised:
            yield of_error("search", raised)

    async def _probe(self) -> Findings:
        async with open_client(self._settings) as client:
            where = addresses(client)
            reason = await probe(client)
        found = [*_plain_credentials(self._settings)]
        if reason is not None:
            mend = "Start it, or mend ELASTICSEARCH_URL and the credentials; unset, the embedded engine is used."
            return iter([error("search", reason, mend), *found])
        engine = "Elasticsearch at" if self._settings.elasticsearch_url else "embedded engine,"
        return iter([ok("search", f"{engine} {where}"), *found])

    def _entries(self, found: switch_file.Switches) -> Findings:
        if self._natives is None or not self._loaded:
            return
        table = RouteTable(self._natives, self._rules)
        for key, switch in found.items():
            row = table.get(key)
            if row is None or row.native is None:
                yield warning("switches", f'["{key}"] is no native route', "Mend its name, or take the entry out.")
            elif not row.switched and (switch.share or switch.mirror):
                mend = "It answers natively from the first day; share and mirror do nothing here."
                yield warning("switches", f'["{key}"] is native only: the Flask app has no such rule', mend)
            if switch.sticky == "user" and self._app is not None and not self._knows_users(self._app):
                mend = 'Write sticky = "user:KEY", the session\'s key of the user id, or set GRAFT_LOG_USER=KEY.'
                found_nobody = f'sticky = "user" of {key} goes by "{USER_ID}" in the session, which Flask-Login sets'
                yield warning("switches", f"{found_nobody}, and this app has no Flask-Login", mend)
            if switch.tripped:
                mend = f'When it is mended: graft shift "{key}" 1'
                yield warning("switches", f"{key} was tripped: {switch.tripped}", mend)

    def _knows_users(self, app: Flask) -> bool:
        return has_login(app) or self._settings.log_user is not None


def async_clients(app: Flask, target: str) -> Iterator[tuple[str, str]]:
    """``("shop.search.client", "AsyncElasticsearch")`` for each in the modules of ``app``."""
    for name, module in sorted(own_modules(app, target.partition(":")[0])):
        for attribute, value in sorted(vars(module).items()):
            kind: type = type(value)
            if is_client(kind):
                yield f"{name}.{attribute}", kind.__name__


def _configuration(app: Flask) -> Findings:
    key = app.secret_key
    if not key:
        mend = "If the app uses sessions, set SECRET_KEY, the same for all workers."
        yield warning("legacy app", "has no SECRET_KEY: sessions and flash messages fail", mend)
    elif str(key).lower() in WEAK_KEYS:
        mend = "python -c 'import secrets; print(secrets.token_hex(32))' makes a good one."
        yield warning("legacy app", "has a SECRET_KEY that anyone can guess", mend)
    if app.debug:
        yield warning("legacy app", "is in debug mode: errors show source code", "Unset FLASK_DEBUG in production.")


def _plain_credentials(settings: Settings) -> Findings:
    if settings.elasticsearch_api_key is None and settings.elasticsearch_password is None:
        return
    for host in settings.elasticsearch_url:
        parts = urlsplit(host)
        if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
            mend = "Write https:// in ELASTICSEARCH_URL, and ELASTICSEARCH_CA_CERTS for an own authority."
            yield warning("search", f"the credentials go to {parts.hostname} unencrypted", mend)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _writable_place(path: Path) -> Path:
    """A file is replaced by a new one beside it, so its folder counts."""
    return path.resolve().parent


def _counted(things: Iterable[Any], noun: str) -> str:
    number = len(list(things))
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
