from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from graft.errors import NativeRoutesError
from graft.routing.native import discover

HEADER = """
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, WebSocketRoute
async def answer(request): return PlainTextResponse(__name__)
async def talk(websocket): await websocket.accept()
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """Writes a package of modules, ``name=source``, and gives its name."""

    def write(**modules: str) -> str:
        name = f"native_{abs(hash(request.node.nodeid))}"
        folder = tmp_path / name
        folder.mkdir()
        for module, source in {"__init__": "", **modules}.items():
            path = folder / f"{module.replace('__in__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(source if module == "__init__" else HEADER + source)
        return name

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return write


def test_routes_come_by_module_name_then_in_the_order_of_their_list(package: Any) -> None:
    name = package(
        zebra="routes = [Route('/z', answer)]",
        apple="routes = [Route('/b', answer), Route('/a', answer)]",
        nothing="",
        _private="raise RuntimeError('never imported')",
        sub__in____init__="routes = [Route('/sub', answer)]",
        sub__in__deep="routes = [Route('/deep', answer)]",
    )
    found = discover(name)
    assert [native.route.path for native in found] == ["/b", "/a", "/sub", "/deep", "/z"]  # type: ignore[attr-defined]
    assert found[0].name == f"{name}.apple.answer"
    assert found[0].place.startswith(f"{name}.apple (")


def test_a_module_may_have_the_name_of_what_is_looked_for_in_it(package: Any) -> None:
    name = package(**{each: f"routes = [Route('/{each}', answer)]" for each in ("routes", "router", "app")})
    assert [native.route.path for native in discover(name)] == ["/app", "/router", "/routes"]  # type: ignore[attr-defined]


def test_keys_are_one_a_method_with_head_under_get(package: Any) -> None:
    name = package(
        a="routes = [Route('/x/{id:int}', answer, methods=['GET', 'POST']), WebSocketRoute('/w', talk), "
        "Mount('/m', routes=[Route('/x', answer)]), Route('/head', answer, methods=['HEAD'])]"
    )
    assert [[str(key) for key in native.keys] for native in discover(name)] == [
        ["GET /x/{id:int}", "POST /x/{id:int}"],
        ["WEBSOCKET /w"],
        ["ANY /m/*"],
        ["HEAD /head"],
    ]


@pytest.mark.parametrize(
    ("first", "second", "claim"),
    [
        ("Route('/x', answer)", "Route('/x', answer, methods=['POST', 'GET'])", "GET /x"),
        ("Route('/x/{a:int}', answer)", "Route('/x/{b:int}', answer)", "GET /x/{:int}"),
        ("WebSocketRoute('/w', talk)", "WebSocketRoute('/w', talk)", "WEBSOCKET /w"),
        ("Mount('/m', routes=[])", "Mount('/m', routes=[])", "Mount /m"),
        ("Host('h', Mount('/'  , routes=[]))", "Host('h', Mount('/', routes=[]))", "Host h"),
    ],
)
def test_two_claims_on_one_route_name_both_places(package: Any, first: str, second: str, claim: str) -> None:
    name = package(one=f"routes = [{first}]", two=f"routes = [{second}]")
    with pytest.raises(NativeRoutesError) as error:
        discover(name)
    said = str(error.value)
    assert f"{claim} is claimed twice" in said
    assert f"{name}.one" in said
    assert f"{name}.two" in said


def test_routes_that_decide_by_more_than_their_path_are_no_second_claim(package: Any) -> None:
    source = """
class Versioned(Route):
    def matches(self, scope):
        return super().matches(scope)

routes = [Versioned('/x', answer), Versioned('/x', answer)]
"""
    assert len(discover(package(one=source))) == 2


def test_the_same_path_with_other_methods_or_another_converter_is_no_second_claim(package: Any) -> None:
    name = package(
        one="routes = [Route('/x', answer), Route('/y/{a:int}', answer)]",
        two="routes = [Route('/x', answer, methods=['POST']), Route('/y/{a}', answer)]",
    )
    assert len(discover(name)) == 4


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import not_there_at_all", "not_there_at_all"),
        ("raise RuntimeError('broken')", "RuntimeError: broken"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("routes = 'x'", "is not a list of Starlette routes"),
        ("routes = [answer]", "is not a list of Starlette routes"),
    ],
)
def test_a_broken_module_is_named_with_its_place(package: Any, source: str, said: str) -> None:
    name = package(broken=source)
    with pytest.raises(NativeRoutesError) as error:
        discover(name)
    assert f"{name}.broken" in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(NativeRoutesError, match="GRAFT_NATIVE=no_such_package: there is no module"):
        discover("no_such_package")
