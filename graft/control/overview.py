"""The overview: every route, who has it and how it fares: the JSON of ``/_graft/api/routes`` and ``graft routes``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graft.figures.route_figures import Latency, RouteFigures
from graft.flaskside.rules import Overlap
from graft.operations.switch import Switch
from graft.operations.switches import Switches
from graft.routing.overlapping_routes import Notes, name
from graft.routing.row_figures import row_figures
from graft.routing.table import RouteTable, Row
from graft.types import Side

Statistics = Mapping[str, RouteFigures]


def overview(
    table: RouteTable, switches: Switches, statistics: Statistics, notes: Notes | None = None
) -> dict[str, Any]:
    """``{"routes": [row, ...], "coverage": {"routes", "traffic", ...}}``; the rows are in the order of the table.

    ``statistics`` is what ``graft.figures.reader.read`` gives, ``notes`` what ``graft.routing.overlapping_routes``
    does.
    """
    figures = row_figures(table, statistics)
    rows = [_row(row, switches, figures[name(row)], notes or {}) for row in table]
    return {"routes": rows, "coverage": _coverage(table, rows)}


def row_of(
    row: Row, table: RouteTable, switches: Switches, statistics: Statistics, notes: Notes | None = None
) -> dict[str, Any]:
    """The JSON of one row of ``table``."""
    return _row(row, switches, figures_of(row, table, statistics), notes or {})


def figures_of(row: Row, table: RouteTable, statistics: Statistics) -> RouteFigures:
    """What was counted for one row of ``table``."""
    return row_figures(table, statistics)[name(row)]


def switch_of(row: Row, switches: Switches) -> Switch:
    """What is set for ``row``; what only one side has is not switched, and that side answers all of it."""
    if row.switched:
        return switches.for_route(row.key)
    if row.native is not None:
        return Switch(share=100.0, hooks=switches.for_route(row.key).hooks)
    return Switch()


def _row(row: Row, switches: Switches, figures: RouteFigures, notes: Notes) -> dict[str, Any]:
    switch = switch_of(row, switches)
    return {
        "route": str(row.key),
        "legacy": _endpoints(row),
        "native": row.native.name if row.native else None,
        "share": plain(switch.share),
        "mirror": plain(switch.mirror),
        "served": {
            "native": figures.served[Side.NATIVE],
            "legacy": figures.served[Side.LEGACY],
            "fallback": figures.served[Side.FALLBACK],
        },
        "latency_ms": {side.value: _latency(figures.latency[side]) for side in (Side.NATIVE, Side.LEGACY)},
        "compared": figures.compared,
        "matched": figures.matched,
        "different": figures.different,
        "untold": figures.mirrored.get("untold", 0),
        "failed": figures.mirrored.get("failed", 0),
        "skipped": figures.mirrored.get("skipped", 0) + figures.mirrored.get("shed", 0),
        "shed": figures.mirrored.get("shed", 0),
        "tripped": switch.tripped,
        "tripped_at": switch.tripped_at.isoformat() if switch.tripped_at else None,
        "hold": switch.hold,
        "held_by": switch.held_by,
        "held_at": switch.held_at.isoformat() if switch.held_at else None,
        "climb": switch.climb,
        "ladder": [plain(share) for share in switch.ladder],
        "switched": row.switched,
        "build": figures.build or None,
        "parity": percent(figures.matched, figures.compared),
        "native_failed": figures.native_failed,
        "hooks": switch.hooks,
        "never_hit": figures.requests == 0,
        "notes": [*notes.get(name(row), ()), *_notes_of(row, switch)],
    }


def _notes_of(row: Row, switch: Switch) -> Iterable[str]:
    if row.switched and switch.hold is not None:
        who = f" by {switch.held_by}" if switch.held_by else ""
        yield f'held{who}: {switch.hold}. To let it move again: graft release "{row.key}"'
    if row.switched and switch.hooks is False:
        yield "hooks = false: the Flask app's before_request and after_request don't run around the native side."


def _coverage(table: RouteTable, rows: list[dict[str, Any]]) -> dict[str, Any]:
    of_flask = [(row, data) for row, data in zip(table, rows, strict=True) if row.rules]
    rules = {(rule.key, rule.endpoint) for row, _ in of_flask for rule in row.rules}
    native = {(rule.key, rule.endpoint) for row, data in of_flask if _covered(row, data) for rule in row.rules}
    answers = sum(sum(data["served"].values()) for _, data in of_flask)
    natively = sum(data["served"]["native"] for _, data in of_flask)
    return {
        "routes": percent(len(native), len(rules)) or 0,
        "traffic": percent(natively, answers) or 0,
        "rules": len(rules),
        "native_rules": len(native),
        "requests": answers,
    }


def _covered(row: Row, data: Mapping[str, Any]) -> bool:
    return (row.overlap in (Overlap.SAME, Overlap.WIDER) or bool(row.beneath)) and data["share"] == 100


def _endpoints(row: Row) -> str | None:
    """The endpoint of the Flask rule; of a subtree the first one, and how many there are beside it."""
    endpoints = list(dict.fromkeys(rule.endpoint for rule in row.rules))
    return f"{endpoints[0]} and {len(endpoints) - 1} more" if len(endpoints) > 1 else next(iter(endpoints), None)


def _latency(latency: Latency) -> dict[str, float | None]:
    return {name: latency.quantile_ms(q) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}


def percent(part: int, whole: int) -> float | None:
    """With two decimals, and never rounded up to a 100 that it is not; None of nothing."""
    if not whole:
        return None
    return plain(min(round(100 * part / whole, 2), 99.99) if part < whole else 100.0)


def plain(value: float) -> float:
    """10.0 as 10, the way people write it."""
    return int(value) if float(value).is_integer() else value
