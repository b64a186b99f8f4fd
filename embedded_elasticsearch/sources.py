"""``_source``: which parts of a document an answer shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from embedded_elasticsearch.errors import kind_of, only, parsing


@dataclass(frozen=True)
class SourceFilter:
    """``is_enabled`` False leaves ``_source`` out of the answer altogether."""

    is_enabled: bool = True
    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()

    @classmethod
    def read(cls, given: Any) -> SourceFilter:
        """From ``True``, ``"title"``, ``["title", "author.*"]`` or ``{"includes": ..., "excludes": ...}``."""
        if isinstance(given, bool):
            return cls(given)
        if isinstance(given, dict):
            options = only(given, frozenset({"includes", "include", "excludes", "exclude"}), "_source")
            includes = options.get("includes", options.get("include", []))
            return cls(True, _paths(includes), _paths(options.get("excludes", options.get("exclude", []))))
        return cls(True, _paths(given))

    @classmethod
    def from_query(cls, query: dict[str, str]) -> SourceFilter:
        """From the URL parameters ``_source``, ``_source_includes`` and ``_source_excludes``."""
        given = query.get("_source", "")
        if given in ("true", "false"):
            return cls(given == "true")
        includes = _listed(given) or _listed(query.get("_source_includes", ""))
        return cls(True, includes, _listed(query.get("_source_excludes", "")))

    def apply(self, source: dict[str, Any]) -> dict[str, Any]:
        if not self.includes and not self.excludes:
            return source
        return self._object(source, "", not self.includes)

    def _object(self, value: dict[str, Any], prefix: str, included: bool) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, item in value.items():
            path = prefix + name
            if _matches(self.excludes, path):
                continue
            inside = included or _matches(self.includes, path)
            if inside or _may_hold(self.includes, path):
                filtered = self._value(item, path, inside)
                if filtered is not _NOTHING:
                    kept[name] = filtered
        return kept

    def _value(self, item: Any, path: str, included: bool) -> Any:
        if isinstance(item, dict):
            filtered = self._object(item, path + ".", included)
            return filtered if filtered or included else _NOTHING
        if isinstance(item, list) and any(isinstance(inner, (dict, list)) for inner in item):
            parts = [self._value(inner, path, included) for inner in item]
            parts = [part for part in parts if part is not _NOTHING]
            return parts if parts or included else _NOTHING
        return item if included else _NOTHING


_NOTHING = object()


def _paths(given: Any) -> tuple[str, ...]:
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list) or not all(isinstance(path, str) for path in listed):
        raise parsing(f"[_source] must be a boolean, a path or an array of paths, found {kind_of(given)}")
    return tuple(listed)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


@lru_cache(maxsize=512)
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in path.split("*")))


def _matches(patterns: tuple[str, ...], path: str) -> bool:
    return any(_pattern(pattern).fullmatch(path) for pattern in patterns)


def _may_hold(patterns: tuple[str, ...], path: str) -> bool:
    """Could something below ``path`` match?"""
    start = path + "."
    return any(pattern.startswith(start) or ("*" in pattern and _overlap(pattern, start)) for pattern in patterns)


def _overlap(pattern: str, start: str) -> bool:
    fixed = pattern.partition("*")[0]
    return start.startswith(fixed) or fixed.startswith(start)
