from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from graft.control.overview import overview, percent
from graft.flaskside.rules import legacy_rules
from graft.operations.switch import Switch
from graft.operations.switches import Switches
from graft.routing.overlapping_routes import notes
from graft.routing.table import RouteTable
from graft.types import RouteKey
from tests.control.app import Traffic, flask_app, native, table_of


def rows(table: RouteTable, traffic: Traffic | None = None, **switches: Switch) -> dict[str, dict[str, Any]]:
    entries = {RouteKey.parse(f"GET {path}"): switch for path, switch in switches.items()}
    told = overview(table, Switches(entries), (traffic or Traffic()).read(), notes(table))
    json.dumps(told, allow_nan=False)
    return {row["route"]: row for row in told["routes"]}


def coverage(table: RouteTable, traffic: Traffic, **switches: Switch) -> dict[str, Any]:
    entries = {RouteKey.parse(f"GET {path}"): switch for path, switch in switches.items()}
    told: dict[str, Any] = overview(table, Switches(entries), traffic.read())["coverage"]
    return told


def test_a_row_tells_who_has_the_route_and_how_it_fares() -> None:
    table = table_of([native("/items/{id:int}")], "/items/<int:id>")
    traffic = Traffic()
    traffic.served("GET /items/{id:int}", "native", 30, 0.004)
    traffic.served("GET /items/{id:int}", "legacy", 60, 0.04)
    traffic.served("GET /items/{id:int}", "legacy; fallback", 2)
    traffic.mirrored("GET /items/{id:int}", matched=995, different=5, failed=3, skipped=7)
    row = rows(table, traffic, **{"/items/{id:int}": Switch(share=33.0, mirror=100.0)})["GET /items/{id:int}"]
    latency = row.pop("latency_ms")
    assert row == {
        "route": "GET /items/{id:int}",
        "legacy": "/items/<int:id>",
        "native": "async_routes.shop.endpoint",
        "share": 33,
        "mirror": 100,
        "served": {"native": 30, "legacy": 60, "fallback": 2},
        "compared": 1000,
        "matched": 995,
        "different": 5,
        "failed": 3,
        "untold": 0,
        "skipped": 7,
        "shed": 0,
        "build": None,
        "tripped": None,
        "tripped_at": None,
        "hold": None,
        "held_by": None,
        "held_at": None,
        "climb": None,
        "ladder": [1, 10, 50, 100],
        "switched": True,
        "parity": 99.5,
        "native_failed": 0,
        "hooks": None,
        "never_hit": False,
        "notes": [],
    }
    assert 2.5 < latency["native"]["p50"] <= 5 < 25 < latency["legacy"]["p99"] <= 50


def test_what_only_one_side_has_is_not_switched() -> None:
    told = rows(table_of([native("/new")], "/old"), None, **{"/old": Switch(share=50.0), "/new": Switch(share=50.0)})
    assert (told["GET /new"]["share"], told["GET /new"]["mirror"], told["GET /new"]["legacy"]) == (100, 0, None)
    assert (told["GET /old"]["share"], told["GET /old"]["mirror"], told["GET /old"]["native"]) == (0, 0, None)
    assert told["GET /old"]["never_hit"]
    assert told["GET /old"]["latency_ms"]["native"] == {"p50": None, "p95": None, "p99": None}
    assert told["GET /old"]["parity"] is None


def test_a_switched_route_without_an_entry_starts_dark_and_is_mirrored_if_it_reads() -> None:
    told = rows(table_of([native("/a", "GET", "POST")], "GET,POST /a"))
    assert [(told[key]["share"], told[key]["mirror"]) for key in ("GET /a", "POST /a")] == [(0, 100), (0, 0)]


def test_a_trip_is_told_with_its_reason_and_time() -> None:
    switch = Switch(tripped="7 of 10 failed", tripped_at=datetime(2026, 1, 2, tzinfo=UTC))
    row = rows(table_of([native("/a")], "/a"), None, **{"/a": switch})["GET /a"]
    assert (row["tripped"], row["tripped_at"]) == ("7 of 10 failed", "2026-01-02T00:00:00+00:00")


def test_hooks_that_are_opted_out_are_pointed_out() -> None:
    row = rows(table_of([native("/a")], "/a"), None, **{"/a": Switch(hooks=False)})["GET /a"]
    assert row["hooks"] is False
    assert row["notes"][0].startswith("hooks = false: the Flask app's before_request")


def test_a_hold_is_pointed_out_with_the_way_to_end_it() -> None:
    row = rows(table_of([native("/a")], "/a"), None, **{"/a": Switch(hold="wrong totals", held_by="alice")})["GET /a"]
    assert (row["hold"], row["held_by"]) == ("wrong totals", "alice")
    assert row["notes"] == ['held by alice: wrong totals. To let it move again: graft release "GET /a"']


def test_coverage_counts_rules_at_share_100_and_native_answers_to_rules() -> None:
    table = table_of([native("/a"), native("/b"), native("/new")], "/a", "/b", "/c", "/d")
    traffic = Traffic()
    for route, side, count in (
        ("a", "native", 60),
        ("b", "native", 10),
        ("b", "legacy; fallback", 5),
        ("c", "legacy", 25),
    ):
        traffic.served(f"GET /{route}", side, count)
    traffic.served("GET /new", "native", 1000)
    traffic.served("(no route)", "legacy", 1000)
    assert coverage(table, traffic, **{"/a": Switch(share=100.0), "/b": Switch(share=50.0)}) == {
        "routes": 25,
        "traffic": 70,
        "rules": 4,
        "native_rules": 1,
        "requests": 100,
    }


def test_a_native_route_that_takes_less_than_its_rule_does_not_cover_it() -> None:
    table = table_of([native("/n/{id:int}"), native("/w/{id}")], "/n/<id>", "/w/<int:id>")
    full = {"/n/{id:int}": Switch(share=100.0), "/w/{id}": Switch(share=100.0)}
    assert coverage(table, Traffic(), **full)["native_rules"] == 1
    told = rows(table)
    assert "takes less than the legacy rule" in told["GET /n/{id:int}"]["notes"][0]
    assert "takes more than the legacy rule" in told["GET /w/{id}"]["notes"][0]


def test_what_the_rule_answered_under_its_own_name_counts_once_in_the_route_s_row() -> None:
    table = table_of([native("/a/{id:int}"), native("/a/{id:uuid}")], "/a/<name>")
    traffic = Traffic()
    traffic.served("GET /a/{id:int}", "native", 5)
    traffic.served("GET /a/{name}", "legacy", 7)
    told = rows(table, traffic)
    assert told["GET /a/{id:int}"]["served"] == {"native": 5, "legacy": 7, "fallback": 0}
    assert told["GET /a/{id:uuid}"]["never_hit"]
    assert coverage(table, traffic)["requests"] == 12


def test_figures_under_two_names_are_one_histogram() -> None:
    table = table_of([native("/a/{id:int}")], "/a/<name>")
    traffic = Traffic()
    traffic.served("GET /a/{id:int}", "legacy", 100, 0.004)
    traffic.served("GET /a/{name}", "legacy", 100, 0.4)
    traffic.mirrored("GET /a/{name}", matched=1)
    row = rows(table, traffic)["GET /a/{id:int}"]
    assert row["latency_ms"]["legacy"]["p50"] <= 5
    assert row["latency_ms"]["legacy"]["p99"] > 250
    assert row["matched"] == 1


def test_an_app_without_rules_and_without_traffic_has_no_coverage() -> None:
    assert coverage(table_of([]), Traffic()) == {
        "routes": 0, "traffic": 0, "rules": 0, "native_rules": 0, "requests": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("part", "whole", "told"), [(0, 0, None), (0, 3, 0), (1, 3, 33.33), (99_999, 100_000, 99.99), (5, 5, 100)]
)
def test_a_percentage_is_only_100_when_it_is_all(part: int, whole: int, told: float | None) -> None:
    assert percent(part, whole) == told


def test_rules_that_no_request_comes_to_are_no_rows() -> None:
    app = flask_app("/a")
    app.add_url_rule("/a", "other", lambda: "")
    app.add_url_rule("/a", "other", app.view_functions["other"])
    traffic = Traffic()
    traffic.served("GET /a", "legacy", 4)
    table = RouteTable([native("/x")], legacy_rules(app))
    told = overview(table, Switches(), traffic.read())
    assert [row["legacy"] for row in told["routes"]] == [None, "/a"]
    assert told["routes"][1]["served"]["legacy"] == 4
    assert told["coverage"]["requests"] == 4
