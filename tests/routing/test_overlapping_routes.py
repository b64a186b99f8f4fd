from __future__ import annotations

import time

from starlette.routing import Mount

from graft.flaskside.rules import legacy_rules
from graft.routing.native import NativeRoute
from graft.routing.overlapping_routes import notes
from graft.routing.table import RouteTable
from tests.control.app import flask_app, native, table_of


def noted(natives: list[NativeRoute], *rules: str) -> dict[str, tuple[str, ...]]:
    return {str(key): said for (key, _), said in notes(table_of(natives, *rules)).items()}


def test_twins_have_nothing_to_point_out() -> None:
    assert noted([native("/a/{id:int}"), native("/")], "/a/<int:number>", "/") == {}


def test_a_native_page_under_a_rule_with_a_parameter_is_pointed_out() -> None:
    said = noted([native("/users/me")], "/users/<name>")["GET /users/me"]
    assert said == (
        "The Flask rule /users/<name> loses /users/me and the like to this route: "
        "answered natively, whatever switches.toml says.",
    )


def test_a_switched_route_that_takes_another_rule_s_page_is_pointed_out() -> None:
    said = noted([native("/users/{name}")], "/users/<name>", "/users/me")["GET /users/{name}"]
    assert said == (
        "The Flask rule /users/me loses /users/me and the like to this route: answered by this route's switch.",
    )


def test_a_page_that_another_native_route_takes_first_is_not_lost() -> None:
    assert noted([native("/users/me"), native("/users/{name}")], "/users/<name>", "/users/me") == {}


def test_a_rule_that_flask_would_not_ask_either_is_not_lost() -> None:
    assert noted([native("/users/me")], "/users/me", "/users/<name>") == {}


def test_converters_are_asked_not_guessed() -> None:
    assert noted([native("/a/word")], "/a/<int:id>") == {}
    assert "GET /a/7" in noted([native("/a/7")], "/a/<int:id>")
    assert "GET /f/{name}.txt" in noted([native("/f/{name}.txt")], "/f/<path:rest>")
    assert "GET /p/q/{id:int}" in noted([native("/p/q/{id:int}")], "/p/<path:rest>")


def test_the_slash_at_the_end_is_pointed_out() -> None:
    assert "differ by the slash at the end" in noted([native("/items")], "/items/")["GET /items"][0]
    assert "differ by the slash at the end" in noted([native("/items/")], "/items")["GET /items/"][0]


def test_methods_that_only_one_side_has_are_pointed_out() -> None:
    said = noted([native("/a", "GET", "DELETE")], "GET,POST /a")
    assert said == {
        "DELETE /a": ("The Flask app has GET, POST at this path, but not DELETE.",),
        "POST /a": ("There is a native route at this path for DELETE, GET, but not for POST.",),
    }


def test_a_large_app_is_read_in_a_moment() -> None:
    natives = [native(f"/api/{{kind}}/thing{number}") for number in range(200)]
    rules = [f"/api/<kind>/thing{number}" for number in range(800)]
    table = table_of(natives, *rules)
    started = time.process_time()
    assert notes(table) == {}
    assert time.process_time() - started < 5


def test_the_prefix_of_the_legacy_app_is_not_part_of_its_rules() -> None:
    rules = legacy_rules(flask_app("/users/<name>", "/items/"), "/old")
    table = RouteTable([native("/old/users/me"), native("/old/items")], rules)
    said = {str(key): lines for (key, _), lines in notes(table).items()}
    assert "The Flask rule /old/users/<name> loses /old/users/me" in said["GET /old/users/me"][0]
    assert "The Flask app has /old/items/" in said["GET /old/items"][0]


def test_a_route_behind_a_mount_is_pointed_out() -> None:
    said = noted([mount("/reports"), native("/reports/{id:int}"), native("/{name}/list"), native("/other")])
    assert said == {
        "GET /reports/{id:int}": (
            '"ANY /reports/*" stands in front of this route and takes all its requests: list the mount behind it.',
        ),
        "GET /{name}/list": (
            '"ANY /reports/*" stands in front of this route and takes /reports/list and the like of it.',
        ),
    }
    assert noted([native("/reports/{id:int}"), mount("/reports")], "/reports/<int:id>", "/reports/") == {}


def test_a_mount_at_the_root_takes_what_stands_behind_it() -> None:
    said = noted([native("/a"), mount("/"), native("/b")], "/a", "/b", "/c/<path:rest>")
    assert list(said) == ["GET /b"]
    assert '"ANY /*" stands in front of this route' in said["GET /b"][0]


def test_rules_that_lose_paths_to_a_mount_are_pointed_out() -> None:
    said = noted([mount("/reports")], "/<path:page>", "/<name>/list")["ANY /reports/*"]
    assert [sentence.partition(" and ")[0] for sentence in said] == [
        "The Flask rule /<path:page> loses /reports/1",
        "The Flask rule /<name>/list loses /reports/list",
    ]
    assert all("answered natively" in sentence for sentence in said)


def test_a_rule_without_the_slash_that_a_mount_begins_with_is_pointed_out() -> None:
    (said,) = noted([mount("/reports")], "/reports", "/reports/new")["ANY /reports/*"]
    assert said == "The Flask app has /reports without a slash at the end: not below the mount, it stays legacy."


def test_of_two_mounts_the_first_has_the_rules() -> None:
    inner = table_of([mount("/reports/a"), mount("/reports")], "/reports/a/<x>", "/reports/b")
    assert [(str(row.key), [rule.key.path for rule in row.beneath]) for row in inner] == [
        ("ANY /reports/a/*", ["/reports/a/{x}"]),
        ("ANY /reports/*", ["/reports/b"]),
    ]
    outer = [mount("/reports"), mount("/reports/a")]
    assert "takes all its requests" in noted(outer, "/reports/a/<x>")["ANY /reports/a/*"][0]


def mount(path: str) -> NativeRoute:
    return NativeRoute(Mount(path, routes=[]), "natives.mounts")
