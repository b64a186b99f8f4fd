"""How native routes match where hosts tell routes apart: those in a ``Host``, and all beside a Flask app with hosts."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from starlette.routing import BaseRoute, Host, Match
from werkzeug.routing import Rule

from graft.flaskside.hosts import HostRules
from graft.types import WEBSOCKET, Scope


class HostMatching:
    """Stands in the place of a route's ``matches``. (event loop)

    ``host`` is the ``Host`` that the route stood in. ``rules`` are those of a Flask app that knows hosts: the route
    takes no request that a rule other than its twin would answer there. ``twins`` has the twin of each method that the
    route has, if there is one; for a mount it is empty, and ``beneath`` has the rules of its subtree. A request that is
    not taken goes on to the routes behind, and to the Flask app at last.
    """

    def __init__(
        self,
        route: BaseRoute,
        host: Host | None,
        rules: HostRules | None,
        twins: Mapping[str, Sequence[Rule]],
        beneath: Sequence[Rule] = (),
    ) -> None:
        self._matches = route.matches
        self._host = host
        self._rules = rules
        self._twins = twins
        self._beneath = beneath

    def __call__(self, scope: Scope) -> tuple[Match, Scope]:
        inside = scope
        if self._host is not None:
            on_host, child = self._host.matches(scope)
            if on_host is Match.NONE:
                return on_host, {}
            inside = {**scope, "path_params": child["path_params"]}
        match, child = self._matches(inside)
        if match is Match.NONE or self._rules is None or self._leaves(self._rules, scope, match):
            return match, child
        return Match.NONE, {}

    def _leaves(self, rules: HostRules, scope: Scope, match: Match) -> bool:
        if match is Match.PARTIAL:  # the path, but not this method: is it the route's for one of its own?
            return any(rules.leaves({**scope, "method": method}, twin) for method, twin in self._twins.items())
        method = WEBSOCKET if scope["type"] == "websocket" else scope["method"]
        if method == "HEAD" and "HEAD" not in self._twins:
            method = "GET"
        return rules.leaves(scope, self._twins.get(method, self._beneath))


def names_only(host: Host) -> Host:
    """``host`` for ``url_for`` alone: the routes in it stand in the list by themselves."""
    named = copy.copy(host)
    vars(named)["matches"] = _no_match
    return named


def _no_match(scope: Scope) -> tuple[Match, Scope]:
    return Match.NONE, {}
