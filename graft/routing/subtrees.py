"""Subtrees: all that lies below a mount, switched as one route, ``ANY /reports/*``."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Iterable

from starlette.routing import BaseRoute, Match, Mount

from graft.flaskside.rules import LegacyRule, on_host
from graft.request_record import RequestRecord
from graft.routing.starlette_private import is_stock
from graft.types import ASGIApp, Receive, RouteKey, Scope, Send


def rules_beneath(key: RouteKey, rules: Iterable[LegacyRule]) -> tuple[LegacyRule, ...]:
    """Those of ``rules`` whose paths all lie in the subtree ``key``: on its host and on any, or where it names none, on
    the default host, as a route's twin does."""
    below = [rule for rule in rules if lies_beneath(rule.key.path, key.path.removesuffix("/*"))]
    if not key.host:
        return tuple(on_host("", below))
    return tuple(rule for rule in below if on_host(key.host, [rule]))


def lies_beneath(path: str, mount: str) -> bool:
    """Whether all that the template ``path`` takes has a slash behind what ``mount`` takes."""
    wanted, there = mount.split("/")[1:], path.split("/")[1:]
    if len(there) <= len(wanted):
        return False
    return all(
        theirs == ours or ("{" in ours and ":path}" not in theirs) for ours, theirs in zip(wanted, there, strict=False)
    )


def subtree_route(mount: Mount, app: ASGIApp, key: RouteKey) -> BaseRoute:
    """``mount`` for Starlette's list, answered by ``app``: the scope keeps the ``root_path`` that it has in front of
    it, so that each side may find the path as its own."""
    route = copy.copy(mount)
    route.app = Subtree(app, str(key))
    vars(route)["matches"] = _matching(mount, route.app)
    vars(route).pop("handle", None)
    vars(route)["label"] = key.path
    # Where the path decides, the router need not ask about others.
    vars(route)["only_below_path"] = is_stock(mount, "matches")
    return route


def _matching(mount: Mount, app: ASGIApp) -> Callable[[Scope], tuple[Match, Scope]]:
    def matches(scope: Scope) -> tuple[Match, Scope]:
        match, child = mount.matches(scope)
        if match is Match.NONE:
            return match, child
        params = dict(child.get("path_params", {}))
        params.pop("path", None)
        return match, {"path_params": {**scope.get("path_params", {}), **params}, "endpoint": app}

    return matches


class Subtree:
    """``app``, whose WebSockets have a name too: Starlette routes those, and it names paths only."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self.app = app
        self._name = name

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        record = RequestRecord.of(scope)
        if record.route is None:
            record.route = self._name
        return self.app(scope, receive, send)
