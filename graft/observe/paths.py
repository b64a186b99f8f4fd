"""What a log line says in place of a path under ``GRAFT_LOG_PATHS=route``: the template of the route.

Paths may hold tokens (``/reset/k3x...``), and log lines come from everywhere: the access record, timeouts, Flask's own
"Exception on ...", Uvicorn's lines about WebSockets. So it is done where lines are formatted: whatever is logged while
a request is served has its path replaced, in the message and in the traceback. What has been logged by a thread that
knows of no request is as it was written.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from urllib.parse import quote

from graft.printable import printable
from graft.request_record import KEY, RequestRecord
from graft.settings import LogPaths
from graft.types import Scope, path_of

UNMATCHED = "(no route)"
"""Stands for the paths of requests that no rule of the legacy app and no native route matches."""

serving: ContextVar[Scope | None] = ContextVar("graft_log_scope", default=None)
"""The request whose path is not to be logged; the mount carries it into Flask's threads."""


class _Choice:
    by_route = False


def choose(setting: LogPaths) -> None:
    """For this process. (at start-up)"""
    _Choice.by_route = setting is LogPaths.ROUTE


def begin(scope: Scope) -> None:
    """From here on the code serves ``scope``. (in the request's own ContextVars)"""
    if _Choice.by_route:
        serving.set(scope)


def in_access_line(scope: Scope, route: str) -> str:
    """The path of the access record."""
    if not _Choice.by_route:
        path: str = scope["path"]
        return path
    return path_of(route)


def without_path(text: str, route: str | None = None) -> str:
    """``text`` with the template in place of the path of the request that this code serves. (any thread)

    ``route`` is what is known of it where the log record was made.
    """
    scope = serving.get()
    if scope is None or not _Choice.by_route:
        return text
    path = scope["path"]
    raw = (scope.get("raw_path") or b"").decode("latin-1")
    in_environ = path.encode("utf-8", "replace").decode("latin-1")  # as PEP 3333 has it
    forms = {path, quote(path), raw, in_environ, repr(path)[1:-1], printable(path)} - {"", "/"}
    for form in sorted(forms, key=len, reverse=True):
        if form in text:
            # Not the beginning of a longer path. What follows a "?" goes along: it may hold tokens, too.
            pattern = rf"{re.escape(form)}(?:\?[^\s\"'\]]*)?(?![\w/~%-])"
            text = re.sub(pattern, lambda _: _template(scope, route), text)
    return text


def _template(scope: Scope, route: str | None) -> str:
    record: RequestRecord | None = scope.get(KEY)
    known = route or (record.route if record is not None else None)
    if known is not None:
        return path_of(known)
    rule = record.legacy_rule if record is not None else None
    if rule is not None:
        from graft.flaskside.rules import template

        return template(rule.rule)
    return getattr(scope.get("route"), "path", None) or UNMATCHED
