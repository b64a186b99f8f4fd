"""The Flask app's ``url_map`` as route keys, and which native route twins which rule."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from weakref import WeakKeyDictionary

from flask import Flask
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, Rule

from graft.types import WEBSOCKET, RouteKey


@dataclass(frozen=True, slots=True)
class LegacyRule:
    """One method of one rule of the Flask app. ``rule`` is as Flask wrote it, ``key`` as Graft writes it.

    ``app`` is the one that has the rule, mounted at ``prefix``. ``host`` is empty where the app answers on any host.
    """

    key: RouteKey
    endpoint: str
    rule: Rule
    app: Flask
    prefix: str
    host: str


class Overlap(StrEnum):
    """How a native route stands to a rule of the same shape. The value is what ``graft routes`` says."""

    SAME = "same"
    NARROWER = "the native converter takes less than the legacy rule; the rest stays legacy"
    WIDER = "the native converter takes more than the legacy rule; the legacy app answers 404 there"


@dataclass(frozen=True, slots=True)
class Twin:
    rule: LegacyRule
    overlap: Overlap


def legacy_rules(app: Flask, prefix: str = "") -> tuple[LegacyRule, ...]:
    """Every rule of ``app``, mounted at ``prefix``: one a method, in the order of the url map.

    HEAD and OPTIONS are rules of their own only where a view has them. A WebSocket's has ``WEBSOCKET`` for its method.
    """
    _server_names[app.url_map] = app.config["SERVER_NAME"] or ""
    has_hosts = knows_hosts(app)
    return tuple(
        LegacyRule(
            RouteKey(method, prefix + template(rule.rule), host_of(rule)),
            rule.endpoint,
            rule,
            app,
            prefix,
            _whole_host(rule) if has_hosts else "",
        )
        for rule in app.url_map.iter_rules()
        if not rule.build_only
        for method in _methods(rule)
    )


def asked(rules: Iterable[LegacyRule]) -> list[LegacyRule]:
    """``rules`` without those that no request comes to: Flask answers by the first of two that take the same paths.

    Some apps give one view two endpoints, to build its URL by either.
    """
    first: dict[tuple[int, str, str, str, str], LegacyRule] = {}
    for rule in rules:
        paths = _PLACEHOLDER.sub(lambda found: found[0].replace(found["name"] + ">", ">"), rule.rule.rule)
        first.setdefault((id(rule.app), rule.prefix, rule.key.method, rule.host, paths), rule)
    return list(first.values())


def has_path(app: Flask, path: str, prefix: str = "") -> bool:
    """Has ``app``, mounted at ``prefix``, a rule for ``path``, whatever the method?

    A redirect to the path with a slash counts as one. Of an app whose rules hang on the host, every path may be one.
    """
    if knows_hosts(app):
        return True
    if prefix and not path.startswith(f"{prefix}/"):
        return False
    path = path[len(prefix) :]
    adapter = app.url_map.bind("localhost", subdomain=app.url_map.default_subdomain)
    try:
        adapter.match(path, method="OPTIONS")
    except NotFound:
        return False
    except HTTPException:
        pass  # another method, or a redirect
    return True


def knows_hosts(app: Flask) -> bool:
    """Whether the app matches hosts, or has a rule for a subdomain of its own."""
    url_map = app.url_map
    return url_map.host_matching or any(rule.subdomain != url_map.default_subdomain for rule in url_map.iter_rules())


def host_of(rule: Rule) -> str:
    """The host in the key of ``rule``: empty for any, and for the default one of an app that matches subdomains.

    Complete for the rules of an app that ``legacy_rules`` has read.
    """
    if rule.map is None or (not rule.map.host_matching and rule.subdomain == rule.map.default_subdomain):
        return ""
    return _whole_host(rule)


def _whole_host(rule: Rule) -> str:
    assert rule.map is not None
    if rule.map.host_matching:
        return template(rule.host or "")
    return ".".join(filter(None, (template(rule.subdomain or ""), _server_names.get(rule.map, ""))))


def template(rule: str) -> str:
    """``/a/<int:id>`` -> ``/a/{id:int}``. A converter that Starlette has not is kept by name."""
    parts: list[str] = []
    last = 0
    for found in _PLACEHOLDER.finditer(rule):
        converter = found["converter"] or "string"
        suffix = "" if converter in ("string", "default") else f":{converter}"
        parts += rule[last : found.start()], "{", found["name"], suffix, "}"
        last = found.end()
    return "".join((*parts, rule[last:]))


class Twins:
    """Finds the rule that a native route twins: the same method, the same shape, whatever the parameters are called.

    A route with a host twins a rule of that host, or one whose host is a pattern for it, or one of any host. A route
    without twins a rule of the default host; one of another host only where no second host has such a rule.
    """

    def __init__(self, rules: Iterable[LegacyRule]) -> None:
        self._by_shape: dict[tuple[str, str], list[LegacyRule]] = {}
        for rule in rules:
            self._by_shape.setdefault((rule.key.method, shape(rule.key.path)), []).append(rule)

    def of(self, key: RouteKey) -> Twin | None:
        """The twin of ``key``, the exact one before one with other converters; None for a native-only route."""
        candidates = on_host(key.host, self._by_shape.get((key.method, shape(key.path)), []))
        compared = [Twin(rule, _overlap(key.path, rule.key.path)) for rule in candidates]
        compared.sort(key=lambda twin: twin.overlap is not Overlap.SAME)
        return compared[0] if compared else None


def on_host(host: str, rules: list[LegacyRule]) -> list[LegacyRule]:
    """Those of ``rules``, of one method and shape, that a native route on ``host`` may twin."""
    if not host:
        default = [rule for rule in rules if not rule.key.host]
        return default or (rules if len({shape(rule.host) for rule in rules}) == 1 else [])
    host = _without_port(host)
    same = [rule for rule in rules if rule.host and shape(_without_port(rule.host)) == shape(host)]
    return same or [rule for rule in rules if not rule.host or _pattern(_without_port(rule.host)).fullmatch(host)]


def _without_port(host: str) -> str:
    return _PORT.sub("", host).lower()


def _pattern(host: str) -> re.Pattern[str]:
    """Takes the hosts that ``{sub}.example.org`` may stand for, but no pattern."""
    return re.compile("[^{}]+".join(map(re.escape, re.split(r"\{[^{}]*\}", host))))


def shape(path: str) -> str:
    """``/a/{id:int}`` -> ``/a/{}``; a ``path`` parameter spans segments, so it keeps its kind."""
    return _PARAMETER.sub(lambda found: "{path}" if found["converter"] == "path" else "{}", path)


def _methods(rule: Rule) -> list[str]:
    if rule.websocket:
        return [WEBSOCKET]
    methods = rule.methods or {"GET"}
    automatic = {"OPTIONS"} if getattr(rule, "provide_automatic_options", True) else set()
    if "GET" in methods:
        automatic.add("HEAD")
    return sorted(methods - automatic or methods)


def _overlap(native: str, legacy: str) -> Overlap:
    pairs = zip(_PARAMETER.finditer(native), _PARAMETER.finditer(legacy), strict=True)
    kinds = [(_kind(ours["converter"]), _kind(theirs["converter"])) for ours, theirs in pairs]
    if all(ours == theirs for ours, theirs in kinds):
        return Overlap.SAME
    if any(ours == "string" != theirs for ours, theirs in kinds):
        return Overlap.WIDER
    return Overlap.NARROWER


def _kind(converter: str | None) -> str:
    return "string" if converter in (None, "str", "string", "default") else converter


_server_names: WeakKeyDictionary[Map, str] = WeakKeyDictionary()
"""SERVER_NAME by url map: a rule of a subdomain is matched below it, and knows its map alone. Written at start."""
_PORT = re.compile(r":\d+$")
_PLACEHOLDER = re.compile(r"<(?:(?P<converter>[a-zA-Z_]\w*)(?:\([^<>]*?\))?:)?(?P<name>[a-zA-Z_]\w*)>")
_PARAMETER = re.compile(r"\{(?P<name>[a-zA-Z_]\w*)(?::(?P<converter>[a-zA-Z_]\w*))?\}")
