"""Each private part of Starlette's is taken away, and the adapter is read anew: it says what stands in, or refuses."""

from __future__ import annotations

import importlib
import importlib.util
from importlib import metadata
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import starlette._utils
import starlette.routing
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router

from graft.errors import SettingError
from graft.routing import starlette_private
from graft.types import Scope


def read_anew() -> ModuleType:
    assert starlette_private.__file__ is not None
    spec = importlib.util.spec_from_file_location("starlette_private_anew", starlette_private.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse("answer")


def test_with_the_installed_version_nothing_is_missing() -> None:
    assert starlette_private.fallbacks == []
    starlette_private.require()


@pytest.mark.parametrize(
    ("path", "root_path"),
    [("/a", ""), ("/r/a", "/r"), ("/r", "/r"), ("/ra", "/r"), ("/a", "/r"), ("/r/a", "/r/"), ("", ""), ("/r", "/r/a")],
)
def test_the_path_below_the_root_is_the_same_without_starlettes_function(
    path: str, root_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope: Scope = {"path": path, "root_path": root_path}
    expected = starlette._utils.get_route_path(scope)
    monkeypatch.delattr(starlette._utils, "get_route_path")
    module = read_anew()
    assert module.route_path(scope) == expected
    assert module.fallbacks == ["starlette._utils.get_route_path is gone: Graft's own copy is used"]


def test_async_functions_are_told_without_starlettes_function(monkeypatch: pytest.MonkeyPatch) -> None:
    class Callable:
        async def __call__(self) -> None:
            """Async."""

    monkeypatch.delattr(starlette._utils, "is_async_callable")
    module = read_anew()
    assert [module.is_async(one) for one in (answer, Callable(), len, str)] == [True, True, False, False]
    assert module.fallbacks == ["starlette._utils.is_async_callable is gone: Graft's own copy is used"]


def test_routes_are_called_through_starlettes_wrapper_where_it_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    route = Route("/", answer)
    assert starlette_private.plain_endpoint(route) is answer
    found = importlib.import_module

    def without(name: str) -> Any:  # Starlette's own routes go on having it
        if name != "starlette.routing":
            return found(name)
        return SimpleNamespace(compile_path=starlette.routing.compile_path)

    monkeypatch.setattr(importlib, "import_module", without)
    module = read_anew()
    assert module.plain_endpoint(route) is None
    assert "every route is called through Starlette's wrapper" in module.fallbacks[0]


def test_errors_are_answered_at_the_front_door_where_the_handlers_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = ExceptionMiddleware.__init__

    def without(self: Any, *args: Any, **options: Any) -> None:
        made(self, *args, **options)
        del self._status_handlers

    monkeypatch.setattr(ExceptionMiddleware, "__init__", without)
    module = read_anew()
    assert module.handlers_of(ExceptionMiddleware(PlainTextResponse(""))) is None
    assert "middleware of a route or a mount sees exceptions as such" in module.fallbacks[0]


def test_debug_pages_are_plain_text_without_starlettes(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": []})
    monkeypatch.delattr(ServerErrorMiddleware, "debug_response")
    module = read_anew()
    page = module.debug_page(request, ZeroDivisionError("by zero"))
    assert (page.status_code, b"ZeroDivisionError: by zero" in page.body) == (500, True)
    assert module.fallbacks == ["ServerErrorMiddleware.debug_response is gone: debug pages are plain text"]


@pytest.mark.parametrize(
    ("owner", "name"), [(Router, "app"), (Route, "matches"), (Mount, "handle"), (starlette.routing, "compile_path")]
)
def test_without_a_part_that_is_needed_it_refuses_in_one_line(
    owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = read_anew()
    monkeypatch.delattr(owner, name)
    if name in ("matches", "handle"):
        monkeypatch.delattr(starlette.routing.BaseRoute, name)
    monkeypatch.setattr(module, "_refusal", module._why_not())
    with pytest.raises(SettingError) as refused:
        module.require()
    said = str(refused.value)
    assert said.startswith(f"starlette {metadata.version('starlette')}: lacks a part that Graft needs (")
    assert name in said
    assert said.endswith("pip install 'starlette>=1.0,<2'.")
    assert "\n" not in said


@pytest.mark.parametrize("found", ["0.52.1", "2.0.0", "2.0.0rc1"])
def test_a_version_that_is_not_known_is_refused(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: found)
    with pytest.raises(SettingError, match=f"starlette {found}: is not a version that Graft was tested with"):
        read_anew().require()
