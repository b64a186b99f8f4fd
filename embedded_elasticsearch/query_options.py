"""Reading the options of a query clause."""

from __future__ import annotations

import math
import re
from typing import Any

from embedded_elasticsearch.errors import bad_request, kind_of, only, parsing, unsupported


class AnyName(frozenset[str]):
    """Every key is allowed: they are field names."""

    def __contains__(self, key: object) -> bool:
        return True


def one_field(body: Any, where: str, short: str | None, allowed: frozenset[str]) -> tuple[str, dict[str, Any]]:
    """``{"field": {options}}`` or, where ``short`` names the option that is meant, ``{"field": value}``."""
    if not isinstance(body, dict) or not body:
        raise parsing(f"[{where}] needs one field, found {kind_of(body) if not body else 'none'}")
    if len(body) > 1:
        first, second, *_ = body
        raise parsing(f"[{where}] query doesn't support multiple fields, found [{first}] and [{second}]")
    ((path, options),) = body.items()
    if not isinstance(options, dict):
        if short is None:
            raise parsing(f"[{where}] on [{path}] must be an object, found {kind_of(options)}")
        options = {short: options}
    return path, only(options, allowed, where)


def scalar(options: dict[str, Any], name: str, where: str) -> Any:
    value = options.get(name)
    if value is None:
        error = bad_request if where == "term" else parsing
        raise error(f"[{where}] {name} cannot be null or missing")
    if isinstance(value, (dict, list)):
        error = parsing if where == "term" else bad_request
        raise error(f"[{where}] [{name}] must be a value, found {kind_of(value)}")
    return value


def decimal(options: dict[str, Any], name: str, default: float, where: str) -> float:
    value = options.get(name, default)
    try:
        if isinstance(value, (bool, dict, list)) or value is None:
            raise ValueError
        number = float(value)
    except ValueError:
        raise parsing(f"[{where}] [{name}] must be a number, found [{value}]") from None
    if not math.isfinite(number) or number < 0:
        raise bad_request(f"negative [{name}] are not allowed in [{where}], use a value between 0 and 1")
    return number


def boost_of(options: dict[str, Any], where: str) -> float:
    return decimal(options, "boost", 1.0, where)


def flag(options: dict[str, Any], name: str) -> bool:
    value = options.get(name, False)
    if value not in (True, False, "true", "false"):
        raise bad_request(f"Failed to parse value [{value}] of [{name}] as only [true] or [false] are allowed.")
    return value in (True, "true")


def choice(options: dict[str, Any], name: str, choices: tuple[str, ...], where: str) -> str:
    """One of the choices, of which the first is the default."""
    value = options.get(name, choices[0])
    if not isinstance(value, str) or value.lower() not in choices:
        raise unsupported(f"[{name}] [{value}] in [{where}], only {' and '.join(choices)}")
    return value.lower()


def weighted_fields(options: dict[str, Any]) -> list[tuple[str, float]]:
    given = options.get("fields")
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names:
        raise unsupported("[multi_match] without [fields]")
    weighted = []
    for name in names:
        if not isinstance(name, str) or "*" in name:
            raise unsupported(f"[multi_match] on the fields [{name}]")
        path, _, weight = name.partition("^")
        weighted.append((path, decimal({"boost": weight or 1.0}, "boost", 1.0, "multi_match")))
    return weighted


_MINIMUM = re.compile(r"(-?\d+)(%?)")


def required(given: Any, clauses: int) -> int:
    """How many of so many optional clauses ``minimum_should_match`` asks for: ``2``, ``-1``, ``"75%"`` or ``"-25%"``.

    The answer may be larger than ``clauses``, by one: then nothing matches. Raises a 400 for anything else.
    """
    text = str(given).strip() if isinstance(given, (int, str)) and not isinstance(given, bool) else ""
    match = _MINIMUM.fullmatch(text)
    if match is None:
        raise unsupported(f"[minimum_should_match] [{given}], only a number or a percentage")
    number = int(match[1])
    if match[2]:
        part = int(clauses * abs(number) / 100)
        number = part if number >= 0 else -part
    return min(max(0, clauses + number if match[1].startswith("-") else number), clauses + 1)
