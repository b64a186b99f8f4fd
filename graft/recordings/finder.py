"""Which rule of the Flask app a request belongs to."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Flask
from werkzeug.exceptions import HTTPException

from graft.flaskside.rules import LegacyRule


class RuleFinder:
    """Of these rules. Immutable; any thread."""

    def __init__(self, rules: Iterable[LegacyRule]) -> None:
        self._rules: dict[tuple[int, str], LegacyRule] = {}
        self._apps: dict[str, Flask] = {}
        for rule in rules:
            self._rules[id(rule.rule), rule.key.method] = rule
            self._apps[rule.prefix] = rule.app

    def of(self, rule: object, method: str) -> LegacyRule | None:
        """What is known of a rule that Flask has found."""
        found = self._rules.get((id(rule), method))
        return found if found is not None or method != "HEAD" else self._rules.get((id(rule), "GET"))

    def find(self, method: str, host: str, path: str) -> LegacyRule | None:
        """The rule that would answer; None where none would, or Flask would send the client to another path."""
        below = [prefix for prefix in self._apps if path.startswith(f"{prefix}/")]
        prefix = max(below, key=len, default=None)
        if prefix is None:
            return None
        app = self._apps[prefix]
        url_map = app.url_map
        subdomain = None
        server = app.config["SERVER_NAME"] or ""
        if not url_map.host_matching:
            subdomain = url_map.default_subdomain
            if server and host.endswith(f".{server}"):
                subdomain = host.removesuffix(f".{server}")
        try:
            adapter = url_map.bind(host if url_map.host_matching else server or "localhost", subdomain=subdomain)
            rule, _ = adapter.match(path[len(prefix) :], method=method, return_rule=True)
        except HTTPException:
            return None
        return self.of(rule, method)
