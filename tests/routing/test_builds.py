"""Builds: which edits make other code of a route, and which don't. Each ``Builds`` stands for a process of its own."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from flask import Flask

import graft
from graft.flaskside.rules import legacy_rules
from graft.routing import source_files
from graft.routing.builds import Builds
from graft.routing.native import discover
from graft.routing.source_files import SourceFiles
from graft.routing.table import RouteTable
from graft.types import RouteKey

FILES = {
    "built_shop/__init__.py": """
        from flask import Flask
        app = Flask(__name__)
        from built_shop import views, hooks, orders
    """,
    "built_shop/hooks.py": """
        from built_shop import app
        @app.before_request
        def check():
            from .settings import LIMIT
    """,
    "built_shop/settings.py": "LIMIT = 3\n",
    "built_shop/views.py": """
        from built_shop.money import price
        import built_shop
        @built_shop.app.get("/items/<int:id>")
        def item(id):
            import built_shop.late
            return {"price": price(id)}
    """,
    "built_shop/money.py": "def price(id): return id\n",
    "built_shop/late.py": "",
    "built_shop/unused.py": "",
    "built_shop/templates/item.html": "<p>{{ item }}</p>",
    "built_shop/orders/__init__.py": "from built_shop.orders import views\n",
    "built_shop/orders/views.py": """
        import built_shop
        from built_shop.orders import tax, \\
            stock
        @built_shop.app.get("/orders")
        def orders():
            return []
    """,
    "built_shop/orders/tax.py": "",
    "built_shop/orders/stock.py": "",
    "built_native/__init__.py": "",
    "built_native/items.py": """
        from starlette.responses import JSONResponse
        from starlette.routing import Route
        from starlette.templating import Jinja2Templates
        from . import (
            helpers,  # of ours
            more as others,
        )
        templates = Jinja2Templates(directory=TEMPLATES)
        async def item(request): return JSONResponse({})
        routes = [Route("/items/{id:int}", item)]
    """,
    "built_native/helpers.py": "",
    "built_native/more.py": "import built_shop.money\n",
    "built_native/orders.py": """
        from starlette.responses import JSONResponse
        from starlette.routing import Route
        async def orders(request): return JSONResponse([])
        routes = [Route("/orders", orders)]
    """,
    "pages/item.html": "<p>native</p>",
    "switches.toml": "",
}
ITEMS, ORDERS = RouteKey("GET", "/items/{id:int}"), RouteKey("GET", "/orders")


class App:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in FILES.items():
            self.write(name, text.replace("TEMPLATES", repr(str(folder / "pages"))))
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        app = importlib.import_module("built_shop").app
        self.table = RouteTable(discover("built_native"), legacy_rules(app))

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))

    def builds(self, version: str | None = None) -> dict[RouteKey, str]:
        """Of a new process."""
        builds = Builds(version)
        return {row.key: builds.of(row) for row in self.table if row.switched}

    def forget(self) -> None:
        sys.path.remove(str(self.folder))
        for name in [name for name in sys.modules if name.partition(".")[0] in ("built_shop", "built_native")]:
            del sys.modules[name]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    made = App(tmp_path / "one")
    yield made
    made.forget()


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("built_shop/views.py", {ITEMS}),
        ("built_shop/money.py", {ITEMS}),  # imported by both of its sides
        ("built_shop/late.py", {ITEMS}),  # imported inside the view
        ("built_shop/hooks.py", {ITEMS, ORDERS}),  # runs around every view
        ("built_shop/settings.py", {ITEMS, ORDERS}),  # imported inside a hook
        ("built_shop/__init__.py", {ITEMS, ORDERS}),
        ("built_shop/orders/views.py", {ORDERS}),
        ("built_shop/orders/tax.py", {ORDERS}),
        ("built_shop/orders/stock.py", {ORDERS}),
        ("built_shop/templates/item.html", {ITEMS, ORDERS}),
        ("built_shop/templates/new.html", {ITEMS, ORDERS}),
        ("built_native/items.py", {ITEMS}),
        ("built_native/helpers.py", {ITEMS}),
        ("built_native/more.py", {ITEMS}),
        ("built_native/orders.py", {ORDERS}),
        ("pages/item.html", {ITEMS}),
        ("built_shop/unused.py", set()),
        ("switches.toml", set()),
    ],
)
def test_an_edit_makes_another_build_of_the_routes_whose_code_it_is(
    app: App, file: str, changed: set[RouteKey]
) -> None:
    before = app.builds()
    assert app.builds() == before
    path = app.folder / file
    path.write_text((path.read_text() if path.exists() else "") + "# edited\n")
    after = app.builds()
    assert {key for key in before if before[key] != after[key]} == changed


def test_an_edit_after_the_start_belongs_to_the_next_process(app: App) -> None:
    builds = Builds(None)
    row = app.table.get(ITEMS)
    assert row is not None
    before = builds.of(row)
    app.write("built_shop/views.py", "")
    assert builds.of(row) == before


def test_the_same_code_in_another_folder_is_the_same_build(app: App, tmp_path: Path) -> None:
    before = app.builds()
    app.forget()
    other = App(tmp_path / "releases" / "42")
    try:
        # The folder of the native templates is in its code here.
        other.write("built_native/items.py", (app.folder / "built_native/items.py").read_text())
        assert other.builds()[ORDERS] == before[ORDERS]
        assert other.builds()[ITEMS] == before[ITEMS]
    finally:
        other.forget()
        sys.path.insert(0, str(app.folder))


def test_another_version_of_a_library_is_another_build(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    before = app.builds()
    monkeypatch.setattr(source_files, "installed", lambda: "flask-9")
    assert all(build != before[key] for key, build in app.builds().items())


def test_a_version_of_ones_own_is_the_build_of_every_route(app: App) -> None:
    assert set(app.builds("2026.11").values()) == {"2026.11"}


def test_a_native_module_may_import_what_stands_for_something_within_a_request_alone() -> None:
    from flask import current_app, g, request

    from graft.routing.builds import _template_folders

    def endpoint() -> None: ...

    names = {"_current_app": current_app, "_g": g, "_request": request, "_strange": type("Strange", (), {"env": 3})()}
    endpoint.__globals__.update(names)
    try:
        assert list(_template_folders(endpoint)) == []
    finally:
        for name in names:
            del endpoint.__globals__[name]


def test_files_that_are_gone_or_are_no_text_are_no_failure(app: App) -> None:
    (app.folder / "built_shop/money.py").unlink()
    (app.folder / "built_shop/late.py").write_bytes(b"\xff\xfe import \x00")
    assert all(app.builds().values())


def test_an_app_of_some_hundred_modules_is_looked_at_quickly_once_for_all_its_routes(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"module_{number}.py").write_text(f"import module_{(number + 1) % 300}\n" + "x = 1\n" * 200)
    sys.path.insert(0, str(tmp_path))
    try:
        files = SourceFiles()
        hashes = {files.hash_of({f"module_{number}"}) for number in range(50)}
    finally:
        sys.path.remove(str(tmp_path))
    assert len(hashes) == 1


def test_an_edit_below_a_mount_makes_another_build_of_the_subtree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "built_mounts/__init__.py": "",
        "built_mounts/below.py": """
            from starlette.routing import Mount
            from built_reports.asgi import app
            routes = [Mount("/items", app=app)]
        """,
        "built_reports/__init__.py": "",
        "built_reports/asgi.py": "import built_reports.pages\nfrom starlette.routing import Router\napp = Router()\n",
        "built_reports/pages.py": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text))
    monkeypatch.syspath_prepend(str(tmp_path))
    flask = Flask("built_flask", static_folder=None)
    flask.add_url_rule("/items/<int:id>", "item", lambda id: "")
    try:
        (row, *_) = RouteTable(discover("built_mounts"), legacy_rules(flask))
        before = Builds(None).of(row)
        assert len(before) == 12
        assert Builds(None).of(row) == before
        (tmp_path / "built_reports" / "pages.py").write_text("changed = True\n")
        assert Builds(None).of(row) != before
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("built_mounts", "built_reports")]:
            del sys.modules[name]


def test_the_code_of_a_django_app_is_what_its_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own: Django has one configuration for each."""
    pytest.importorskip("django", reason="pip install django")
    polls = tmp_path / "polls"
    polls.mkdir()
    for name in ("__init__", "views", "urls"):
        (polls / f"{name}.py").touch()
    program = """
        from django.conf import settings
        settings.configure(INSTALLED_APPS=["polls", "django.contrib.auth", "django.contrib.contenttypes"],
            ROOT_URLCONF="polls.urls", TEMPLATES=[{"BACKEND": "x", "DIRS": ["/pages"]}])
        from django.core.asgi import get_asgi_application
        from graft.frameworks.django_sources import modules_of, template_folders
        app = get_asgi_application()
        print(sorted({*modules_of(app)}), [str(folder) for folder in template_folders(app)], [*modules_of(print)])
    """
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(Path(graft.__file__).parents[1]))))
    told = subprocess.run([sys.executable, "-c", dedent(program)], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "['polls', 'polls.urls', 'polls.views'] ['/pages'] []"
