from __future__ import annotations

import pytest
from flask import Flask

from graft.flaskside.rules import Overlap, Twins, has_path, legacy_rules
from graft.types import RouteKey


def app_with(*rules: tuple[str, list[str]]) -> Flask:
    app = Flask(__name__, static_folder=None)
    for number, (rule, methods) in enumerate(rules):
        app.add_url_rule(rule, f"view{number}", lambda **values: "", methods=methods)
    return app


def test_each_method_of_a_rule_is_a_key_and_automatic_ones_are_not() -> None:
    rules = legacy_rules(app_with(("/a", ["GET", "POST"]), ("/b", ["HEAD"]), ("/c", ["DELETE"])))
    assert [str(rule.key) for rule in rules] == ["GET /a", "POST /a", "HEAD /b", "DELETE /c"]
    assert [rule.endpoint for rule in rules] == ["view0", "view0", "view1", "view2"]


def test_an_options_view_of_the_app_is_a_key() -> None:
    assert [str(rule.key) for rule in legacy_rules(app_with(("/a", ["OPTIONS"])))] == ["OPTIONS /a"]


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("/plain", "/plain"),
        ("/<name>", "/{name}"),
        ("/<string:name>", "/{name}"),
        ("/<int:id>", "/{id:int}"),
        ("/<int(min=1, max=5):id>/x", "/{id:int}/x"),
        ("/<path:rest>", "/{rest:path}"),
        ("/<uuid:key>/<float:price>", "/{key:uuid}/{price:float}"),
        ('/<any(about, "help"):page>', "/{page:any}"),
        ("/a-<x>-<int:y>.json", "/a-{x}-{y:int}.json"),
    ],
)
def test_rules_are_written_as_starlette_templates(rule: str, path: str) -> None:
    assert [one.key for one in legacy_rules(app_with((rule, ["GET"])))] == [RouteKey("GET", path)]


def test_a_twin_has_the_same_method_and_shape_whatever_the_parameters_are_called() -> None:
    twins = Twins(legacy_rules(app_with(("/items/<int:item_id>", ["GET"]), ("/items/<slug>", ["GET"]))))
    exact = twins.of(RouteKey("GET", "/items/{id:int}"))
    assert exact is not None
    assert (exact.rule.endpoint, exact.overlap) == ("view0", Overlap.SAME)
    assert twins.of(RouteKey("POST", "/items/{id:int}")) is None
    assert twins.of(RouteKey("GET", "/items/")) is None


@pytest.mark.parametrize(
    ("legacy", "native", "overlap"),
    [
        ("/u/<name>", "/u/{id:int}", Overlap.NARROWER),
        ("/u/<int:id>", "/u/{name}", Overlap.WIDER),
        ("/u/<int:id>", "/u/{number:int}", Overlap.SAME),
        ("/u/<int:id>/<kind>", "/u/{id}/{kind:int}", Overlap.WIDER),
    ],
)
def test_other_converters_are_pointed_out(legacy: str, native: str, overlap: Overlap) -> None:
    twin = Twins(legacy_rules(app_with((legacy, ["GET"])))).of(RouteKey("GET", native))
    assert twin is not None
    assert twin.overlap is overlap


def test_a_path_parameter_spans_segments_so_it_twins_only_another_one() -> None:
    twins = Twins(legacy_rules(app_with(("/files/<path:name>", ["GET"]))))
    assert twins.of(RouteKey("GET", "/files/{name}")) is None
    assert twins.of(RouteKey("GET", "/files/{rest:path}")) is not None


def test_below_a_prefix_the_rules_bear_it() -> None:
    app = app_with(("/a", ["GET"]))
    assert [str(rule.key) for rule in legacy_rules(app, "/old")] == ["GET /old/a"]
    assert has_path(app, "/old/a", "/old")
    assert not has_path(app, "/older/a", "/old")
    assert not has_path(app, "/a", "/old")
