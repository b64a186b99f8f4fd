"""Flask apps whose rules hang on the host: which rule, if any, would answer a request on its own host."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Flask
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import MapAdapter, Rule
from werkzeug.routing.exceptions import WebsocketMismatch

from graft.flaskside.request_context import app_environ
from graft.flaskside.rules import LegacyRule, knows_hosts
from graft.types import Scope


class HostRules:
    """Immutable. Its methods match paths and do not block. (event loop)"""

    def __init__(self, rules: Iterable[LegacyRule]) -> None:
        self._apps = {rule.prefix: rule.app for rule in rules}

    @classmethod
    def of(cls, rules: tuple[LegacyRule, ...]) -> HostRules | None:
        """None where no app among those of ``rules`` knows hosts: path and method decide alone there."""
        return cls(rules) if any(rule.host for rule in rules) else None

    def leaves(self, scope: Scope, twins: Iterable[Rule]) -> bool:
        """Does the Flask app leave ``scope`` to the native route that twins ``twins``?

        It does where one of these is the rule that would answer on this host, or none would. A redirect of Flask's, and
        its refusal of a host, are answers.
        """
        path = scope["path"].removeprefix(scope.get("app_root_path", scope.get("root_path", "")))
        below = [prefix for prefix in self._apps if path == prefix or path.startswith(f"{prefix}/")]
        prefix = max(below, key=len, default=None)
        if prefix is None or not knows_hosts(self._apps[prefix]):
            return True
        try:
            rule, _ = _adapter(self._apps[prefix], scope, prefix).match(return_rule=True)
        except (NotFound, MethodNotAllowed, WebsocketMismatch):
            return True
        except HTTPException:
            return False
        return any(rule is twin for twin in twins)


def has_path_on_host(app: Flask, scope: Scope, path: str, prefix: str) -> bool:
    """Has ``app``, mounted at ``prefix``, a rule for ``path`` on the host of ``scope``, whatever the method?"""
    if not path.startswith(f"{prefix}/"):
        return False
    try:
        _adapter(app, scope, prefix).match(path[len(prefix) :], method="OPTIONS")
    except NotFound:
        return False
    except HTTPException:
        pass  # another method, a redirect, or a host that the app refuses
    return True


def _adapter(app: Flask, scope: Scope, prefix: str) -> MapAdapter:
    """The one that the app itself would make for this request. Raises HTTPException for a host that it refuses."""
    adapter = app.create_url_adapter(app.request_class(app_environ(scope, prefix, None)))
    assert adapter is not None, "an app has an adapter for every request"
    return adapter
