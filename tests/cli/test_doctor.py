from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from graft.cli.checks import Status, express_way, machine
from tests.cli.project import APP, Project
from tests.parts import free_port

ASYNC = """
    import asyncio, httpx
    from elasticsearch import AsyncElasticsearch
    from flask import Flask

    app = Flask(__name__)
    app.secret_key = "3f1c9b7a5e2d"
    search = AsyncElasticsearch("http://127.0.0.1:1")
    web = httpx.AsyncClient()
    lock = asyncio.Lock()
    Kind = AsyncElasticsearch

    @app.get("/a")
    async def a():
        return "a"
"""


@pytest.fixture(autouse=True)
def a_port_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", str(free_port()))


def findings(project: Project) -> dict[str, list[dict[str, Any]]]:
    """What ``--json`` tells, by the name of the check."""
    ended = project.run("doctor", "--json")
    told = json.loads(ended.stdout)
    errors = [each for each in told["checks"] if each["status"] == "error"]
    assert ended.exit_code == (1 if errors else 0)
    assert told["ok"] == (not errors)
    assert all(bool(each["mend"]) or each["status"] == "ok" for each in told["checks"])
    named: dict[str, list[dict[str, Any]]] = {}
    for each in told["checks"]:
        named.setdefault(each["name"], []).append(each)
    return named


def only(project: Project, name: str) -> dict[str, Any]:
    (finding,) = findings(project)[name]
    return finding


def test_a_sound_project_is_ok_in_every_line(project: Project) -> None:
    ended = project.run("doctor")
    assert ended.exit_code == 0, ended.output
    assert "0 errors" in ended.stdout
    found = findings(project)
    fine = {name for name, all_of_it in found.items() if all(each["status"] == "ok" for each in all_of_it)}
    expected = {
        "python",
        "settings",
        "legacy app",
        "threads",
        "async views",
        "async clients",
        "native routes",
        "switches",
        "search",
    }
    assert expected | {"data folder", "token", "port", "proxy"} <= fine | {"packages"}
    assert found["legacy app"][0]["message"] == "shop:app, 4 rules"
    assert found["threads"][0]["message"].startswith(
        "16 requests at once and 64 waiting in each worker, above that 503"
    )
    assert found["native routes"][0]["message"] == "async_routes, 3 routes, 1 of them switched"


def test_it_says_which_gateway_a_command_would_mean(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    here = only(project, "gateway")
    assert (here["status"], here["message"]) == (
        "ok",
        f"none is running; commands go by {project.folder}/switches.toml",
    )
    (project.folder / "elsewhere").mkdir()
    monkeypatch.chdir(project.folder / "elsewhere")
    monkeypatch.delenv("GRAFT_LEGACY")
    assert only(project, "gateway")["status"] == "warning"


def test_async_views_and_module_level_clients_are_listed(project: Project) -> None:
    project.write("shop.py", ASYNC)
    found = findings(project)
    assert found["async views"][0]["message"].startswith("a: they run on one loop")
    clients = found["async clients"][0]
    assert clients["status"] == "ok"
    assert clients["message"].startswith("shop.search (AsyncElasticsearch), shop.web (AsyncClient): fine here")


def test_async_clients_without_async_views_are_a_warning(project: Project) -> None:
    project.write("shop.py", ASYNC.replace("async def", "def"))
    assert only(project, "async clients")["status"] == "warning"


def test_clients_in_other_modules_of_the_project_are_found(project: Project) -> None:
    project.write("store.py", "import httpx\nclient = httpx.AsyncClient()\n")
    project.write("shop.py", "import store\n" + (project.folder / "shop.py").read_text())
    assert "store.client (AsyncClient)" in only(project, "async clients")["message"]


def test_a_legacy_app_that_does_not_start_is_an_error_with_the_line(project: Project) -> None:
    project.write("shop.py", "raise RuntimeError('no database')\n")
    found = findings(project)["legacy app"][0]
    assert found["status"] == "error"
    assert "RuntimeError: no database" in found["message"]
    assert "shop.py:1" in found["message"]


def test_an_app_that_gevent_has_patched_is_one_error_and_the_rest_is_examined(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gevent.monkey", ModuleType("gevent.monkey"))
    patch_all = "__import__('sys').modules['gevent.monkey'].is_module_patched = ('socket', 'threading').__contains__\n"
    project.write("shop.py", patch_all + dedent(APP))
    found = findings(project)
    assert [each["status"] for each in found["legacy app"]] == ["error"]
    assert "the app has socket, threading patched by gevent.monkey.patch_all()" in found["legacy app"][0]["message"]
    assert found["native routes"][0]["status"] == found["port"][0]["status"] == "ok"


def test_what_the_app_asks_for_and_has_not_is_a_warning(project: Project) -> None:
    project.write("requirements.txt", "flask>=2\nno-such-package-of-this-shop>=1\nclick<1\n")
    messages = [each["message"] for each in findings(project)["app requirements"]]
    assert messages[0] == "requirements.txt asks for no-such-package-of-this-shop>=1, which is not installed"
    assert messages[1].startswith("requirements.txt asks for click<1, installed is ")


def test_a_wsgi_app_that_is_no_flask_app_is_a_warning(project: Project) -> None:
    project.write("shop.py", "def app(environ, start_response):\n    return []\n")
    found = findings(project)
    assert found["legacy app"][0]["status"] == "warning"
    assert "async views" not in found


@pytest.mark.parametrize(
    ("line", "said"),
    [("None", "has no SECRET_KEY"), ("'dev'", "that anyone can guess"), ("'x'\napp.debug = True", "debug")],
)
def test_weak_settings_of_the_flask_app_are_warnings(project: Project, line: str, said: str) -> None:
    project.write("shop.py", f"from flask import Flask\napp = Flask(__name__)\napp.secret_key = {line}\n")
    found = findings(project)["legacy app"][1]
    assert found["status"] == "warning"
    assert said in found["message"]


def test_native_routes_that_fail_to_import_are_an_error(project: Project) -> None:
    project.write("async_routes/broken.py", "import nothing_at_all\n")
    found = findings(project)["native routes"][0]
    assert found["status"] == "error"
    assert "broken.py:1" in found["message"]


def test_routes_that_meet_without_a_switch_are_warnings(project: Project) -> None:
    project.write("async_routes/more.py", "from async_routes import item, Route\nroutes = [Route('/about/', item)]\n")
    assert "differ by the slash" in findings(project)["native routes"][1]["message"]


def test_a_broken_switches_file_is_an_error_with_the_line(project: Project) -> None:
    project.write("switches.toml", '["GET /items/{id:int}"]\nshare = 200\n')
    found = only(project, "switches")
    assert found["status"] == "error"
    assert "switches.toml, line 2" in found["message"]


def test_entries_that_nothing_follows_and_trips_are_warnings(project: Project) -> None:
    project.write(
        "switches.toml",
        """
        ["GET /item/{id:int}"]
        share = 1
        ["GET /new"]
        share = 1
        ["GET /items/{id:int}"]
        tripped = "7 of 9 failed"
        """,
    )
    said = [each["message"] for each in findings(project)["switches"][1:]]
    assert said == [
        '["GET /item/{id:int}"] is no native route',
        '["GET /new"] is native only: the Flask app has no such rule',
        "GET /items/{id:int} was tripped: 7 of 9 failed",
    ]


def test_a_sticky_user_whom_the_session_has_elsewhere_is_a_warning(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("switches.toml", '["GET /items/{id:int}"]\nsticky = "user"\n')
    [found] = findings(project)["switches"][1:]
    assert (found["status"], "user:KEY" in found["mend"]) == ("warning", True)
    assert 'sticky = "user" of GET /items/{id:int} goes by "_user_id" in the session' in found["message"]
    monkeypatch.setenv("GRAFT_LOG_USER", "user")
    assert findings(project)["switches"][1:] == []


def test_a_search_server_that_is_down_is_an_error(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://127.0.0.1:1")
    found = only(project, "search")
    assert found["status"] == "error"
    assert "http://127.0.0.1:1 can't be reached" in found["message"]
    monkeypatch.setenv("ELASTICSEARCH_USERNAME", "elastic")
    assert "ELASTICSEARCH_USERNAME" in only(project, "search")["message"]


def test_credentials_that_go_unencrypted_are_a_warning(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELASTICSEARCH_API_KEY", "hunter2")
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://search.invalid:9200,http://localhost:1,http://127.0.0.1:1")
    down, plain = findings(project)["search"]
    assert (down["status"], plain["status"]) == ("error", "warning")
    assert plain["message"] == "the credentials go to search.invalid unencrypted"


def test_a_switches_file_that_can_t_be_written_is_a_warning(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "can't be written by this user" in findings(project)["switches"][1]["message"]


def test_without_a_package_the_rest_is_still_examined(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graft.cli.checks.application", None)
    found = findings(project)
    assert "could not be checked" in found["legacy app"][0]["message"]
    assert "port" in found


def test_a_data_folder_that_is_a_file_is_an_error(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("taken", "")
    monkeypatch.setenv("GRAFT_DATA", "taken")
    assert only(project, "data folder")["status"] == "error"


def test_a_full_disk_is_a_warning(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LEAST_FREE", 1 << 60)
    assert "MB free" in only(project, "data folder")["message"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_token_that_others_can_read_is_a_warning(project: Project) -> None:
    path = project.write("var/admin-token", "x" * 43)
    path.chmod(0o644)
    found = only(project, "token")
    assert (found["status"], "0644" in found["message"]) == ("warning", True)
    path.chmod(0o600)
    assert only(project, "token")["status"] == "ok"
    path.write_text("\n")
    assert only(project, "token")["status"] == "error"
    path.unlink()
    path.mkdir()
    assert only(project, "token")["status"] == "error"


def test_a_chosen_token_is_never_shown(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_ADMIN_TOKEN", "hunter2")
    ended = project.run("doctor")
    assert "has only 7 characters" in ended.stdout
    assert "hunter2" not in ended.stdout
    monkeypatch.setenv("GRAFT_ADMIN_TOKEN", "x" * 32)
    assert only(project, "token")["status"] == "ok"


def test_a_held_port_names_its_holder(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        held.settimeout(0)
        monkeypatch.setenv("PORT", str(held.getsockname()[1]))
        found = only(project, "port")
    assert found["status"] == "error"
    assert f"pid {os.getpid()}" in found["message"]


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "ok"}')

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_gateway_that_runs_already_is_fine(project: Project, monkeypatch: pytest.MonkeyPatch, gateway: int) -> None:
    monkeypatch.setenv("PORT", str(gateway))
    assert "a gateway answers there" in only(project, "port")["message"]


def test_a_host_that_is_none_is_an_error(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "no such host")
    assert only(project, "port")["status"] == "error"


@pytest.mark.parametrize(
    ("host", "trusted", "said"),
    [
        ("127.0.0.1", "*", None),
        ("localhost", "127.0.0.1", None),
        ("0.0.0.0", "10.0.0.0/8, 192.0.2.7", None),
        ("0.0.0.0", "*", "may claim any client address"),
        ("0.0.0.0", "127.0.0.1", "believes no proxy outside this machine"),
        ("127.0.0.1", "nginx", "'nginx', which is no address"),
    ],
)
def test_proxy_settings_that_deceive_are_warnings(
    project: Project, monkeypatch: pytest.MonkeyPatch, host: str, trusted: str, said: str | None
) -> None:
    monkeypatch.setenv("HOST", host)
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    found = only(project, "proxy")
    assert found["status"] == ("ok" if said is None else "warning")
    assert (said or "listens on") in found["message"]


def test_a_wrong_setting_ends_the_examination(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "eighty")
    found = findings(project)
    assert found["settings"][0]["status"] == "error"
    assert "PORT" in found["settings"][0]["message"]
    assert "legacy app" not in found


def test_a_check_that_fails_itself_is_told_and_the_others_go_on(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Iterator[Any]:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(machine, "python", broken)
    found = findings(project)
    assert found["python"][0]["message"] == "the check itself failed: ZeroDivisionError: by zero"
    assert "proxy" in found


@pytest.mark.parametrize(
    ("found", "status"), [((3, 10, 9), Status.ERROR), ((3, 12, 1), Status.OK), ((3, 99, 0), Status.WARNING)]
)
def test_python_is_tested_from_one_version_to_another(
    monkeypatch: pytest.MonkeyPatch, found: tuple[int, ...], status: Status
) -> None:
    monkeypatch.setattr(sys, "version_info", found)
    assert [each.status for each in machine.python()] == [status]


def packages(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> list[str]:
    (folder / "requirements.txt").write_text(text)
    monkeypatch.setattr("graft.__file__", str(folder / "graft" / "__init__.py"))
    return [f"{each.status}: {each.message}" for each in machine.packages()]


def test_packages_are_held_against_what_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = """
# a comment
-r other.txt
click>=8   # fine
rich==0.1
no-such-package==1
also-none==1; sys_platform == "cp/m"
flask[async, dotenv]
"""
    said = packages(monkeypatch, tmp_path, asked)
    assert any(line.startswith("warning: rich is ") and line.endswith("tested is 0.1") for line in said)
    assert "error: no-such-package is not installed" in said
    assert not any("also-none" in line or "click" in line for line in said)
    assert packages(monkeypatch, tmp_path, "click\nrich\n") == ["ok: all 2 installed as asked for"]


def test_an_installed_graft_knows_its_requirements_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("graft.__file__", str(tmp_path / "graft" / "__init__.py"))
    monkeypatch.setattr(machine, "requires", lambda name: ["click>=8", "none-such; extra == 'dev'"])
    assert [each.message for each in machine.packages()] == ["all 1 installed as asked for"]


def test_few_open_files_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LEAST_FILES", 1 << 40)
    assert [each.status for each in machine.files()] in ([Status.WARNING], [Status.OK])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("app = graft.gateway()", "open"),
        ("app = Starlette(middleware=[Middleware(ForwardedHeaders), Middleware(FrontDoor)])", "open"),
        ("app = Starlette(middleware=[Middleware(cors.CORSMiddleware), Middleware(FrontDoor)])", "CORSMiddleware"),
        ("app = graft.gateway()\napp.add_middleware(GZipMiddleware, minimum_size=500)", "GZipMiddleware stands"),
        ("app = graft.gateway()\napp = asgi.SentryAsgiMiddleware(app)", "SentryAsgiMiddleware stands"),
    ],
)
def test_it_tells_what_closes_the_express_way(line: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "gateway.py").write_text(f"import graft\n{line}\n")
    [finding] = express_way.express_way(tmp_path / "gateway.py", {})
    assert said in finding.message
    assert finding.status is (Status.OK if said == "open" else Status.WARNING)


def test_traces_close_the_express_way(tmp_path: Path) -> None:
    [finding] = express_way.express_way(tmp_path / "gateway.py", {"OTEL_TRACES_EXPORTER": "console"})
    assert (finding.status, "traces" in finding.message) == (Status.OK, True)


def test_the_projects_own_gateway_has_it_open() -> None:
    assert "open" in next(express_way.express_way(Path(__file__).parents[2] / "gateway.py", {})).message


def test_looking_makes_nothing(project: Project) -> None:
    before = sorted(path for path in project.folder.rglob("*") if "__pycache__" not in path.parts)
    for command in (["doctor"], ["routes"], ["routes", "--advise"], ["differences"], ["history"], ["openapi"]):
        assert project.run(*command).exit_code in (0, 1), command
        after = sorted(path for path in project.folder.rglob("*") if "__pycache__" not in path.parts)
        assert after == before, command


def test_differences_of_a_route_that_there_is_not_are_a_mistake(project: Project) -> None:
    ended = project.run("differences", "GET /item/{id:int}")
    assert ended.exit_code == 2
    assert 'There is no route "GET /item/{id:int}". Did you mean "GET /items/{id:int}"?' in ended.stderr
