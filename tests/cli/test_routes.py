from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx2 as httpx
import pytest

from graft.figures import folders
from tests.cli.project import Project
from tests.parts import free_port
from tests.parts.gateway import PROJECT, run_to_the_end, serving

HOST = socket.gethostname()
COUNT = """
    import sys
    from pathlib import Path
    from graft.figures import folders
    folders.shared = Path(sys.argv[1])
    from graft.figures.recorder import RECORDER
    from graft.types import RouteKey
    async def count():
        for _ in range(30):
            RECORDER.answered("GET /items/{id:int}", "native", 200, 0.004)
            RECORDER.answered("GET /items/{id:int}", "legacy", 200, 0.04)
        RECORDER.answered("GET /items/{id:int}", "legacy; fallback", 200, 0.04)
        RECORDER.answered("GET /new", "native", 200, 12.0)
        for n in range(20):
            RECORDER.compared(RouteKey("GET", "/items/{id:int}"), n > 0)
        RECORDER.publish()
    import asyncio
    asyncio.run(count())
"""


def count(project: Project, name: str = "1") -> None:
    """Counts as two workers of one server would."""
    folder = project.folder / "var" / "metrics" / name
    folder.mkdir(parents=True)
    script = project.write("count_some.py", COUNT)
    for _ in range(2):
        path = os.pathsep.join(sys.path)
        subprocess.run([sys.executable, script, folder], check=True, env={**os.environ, "PYTHONPATH": path})


def line(output: str, route: str) -> list[str]:
    return next(line.removeprefix(route).split() for line in output.splitlines() if line.startswith(route + " "))


def test_every_rule_and_every_native_route_has_a_line(project: Project) -> None:
    ended = project.run("routes")
    assert ended.exit_code == 0, ended.output
    assert line(ended.stdout, "GET /items/{id:int}") == ["0", "100", "-", "-", "-", "-"]
    assert line(ended.stdout, "GET /new")[0] == "native"
    assert line(ended.stdout, "POST /about")[0] == "legacy"
    assert "coverage: 0 % of routes (0 of 4 rules)" in ended.stdout
    assert "no figures yet" in ended.stdout
    assert line(ended.stdout, "WEBSOCKET /ws")[0] == "native"


def test_the_figures_are_those_of_all_workers(project: Project) -> None:
    count(project, f"{HOST}-{os.getpid()}")
    project.write("switches.toml", '["GET /items/{id:int}"]\nshare = 50\n')
    ended = project.run("routes")
    native, legacy = (["60", "/", "60", "/", "2"], ["4.0", "/", "4.0"])
    cells = line(ended.stdout, "GET /items/{id:int}")
    assert cells[:2] == ["50", "100"]
    assert cells[2:7] == native
    assert cells[7:10] == legacy
    assert cells[-1] == "95"
    assert line(ended.stdout, "GET /about")[2:4] == ["never", "hit"]
    assert "49.18 % of traffic (122 requests)" in ended.stdout
    assert "has ended" not in ended.stdout


def test_figures_of_a_server_that_has_ended_are_told_as_such(project: Project) -> None:
    count(project, f"{HOST}-999999999")
    assert "the figures are those of a gateway that has ended" in project.run("routes").stdout


def test_the_running_server_s_figures_come_first(project: Project) -> None:
    count(project, f"{HOST}-{os.getpid()}")
    newer = project.folder / "var" / "metrics" / f"{HOST}-999999999"
    newer.mkdir()
    assert "122 requests" in project.run("routes").stdout


def test_a_named_folder_of_metrics_wins(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    count(project)
    monkeypatch.setattr(folders, "shared", project.folder / "var" / "metrics" / "1")
    assert "122 requests" in project.run("routes").stdout
    monkeypatch.setattr(folders, "shared", project.folder / "gone")
    assert "no figures yet" in project.run("routes").stdout


def test_json_is_the_api_s_and_nothing_else_is_printed(project: Project) -> None:
    project.write("async_routes/more.py", "from starlette.routing import Host\nroutes = [Host('a.test', app=print)]\n")
    ended = project.run("routes", "--json", "--all")
    told = json.loads(ended.stdout)
    assert told["routes"][0]["route"] == "GET /items/{id:int}"
    assert told["coverage"]["rules"] == 4
    assert [row["native"] for row in told["routes"] if row["route"] == "WEBSOCKET /ws"] == ["async_routes.talk"]
    assert told["others"] == [{"kind": "Host", "path": "a.test", "native": "async_routes.more.Host"}]
    assert "others" not in json.loads(project.run("routes", "--json").stdout)


def test_a_gateway_without_gunicorn_tells_its_own_figures(tmp_path: Path) -> None:
    """It has no other worker, and so no files of figures."""
    data = tmp_path / "var"
    env = {"GRAFT_DATA": str(data), "PORTAL_DATA": str(tmp_path / "portal")}

    def routes(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "graft", "routes", *options]
        return run_to_the_end(command, folder=PROJECT, env={**env, "COLUMNS": "160"}, timeout=60)

    server = [sys.executable, "-m", "uvicorn", "gateway:app", "--port", str(free_port())]
    with serving(server, folder=PROJECT, log=tmp_path / "log", env=env, ready="/about") as gateway:
        for _ in range(3):
            assert httpx.get(f"{gateway.base_url}/about").status_code == 200
        told = json.loads(routes("--json").stdout)
        assert told.keys() == {"routes", "coverage"}
        assert next(row for row in told["routes"] if row["route"] == "GET /about")["served"]["legacy"] >= 3
        shown = routes().stdout
        assert "no figures yet" not in shown
        assert "a gateway that has ended" not in shown
    ended = routes()
    assert (ended.returncode, "no figures yet" in ended.stdout) == (0, True)


def test_only_switched_routes_can_be_asked_for(project: Project) -> None:
    told = json.loads(project.run("routes", "--switched", "--json").stdout)
    assert [row["route"] for row in told["routes"]] == ["GET /items/{id:int}"]
    assert told["coverage"]["rules"] == 4


def test_a_trip_and_what_deserves_a_look_stand_below(project: Project) -> None:
    project.write("switches.toml", '["GET /items/{id:int}"]\ntripped = "7 of 9 failed"\nhooks = false\n')
    project.write("async_routes/more.py", "from async_routes import item, Route\nroutes = [Route('/about/', item)]\n")
    ended = project.run("routes", "--all")
    assert "! GET /items/{id:int} was tripped: 7 of 9 failed" in ended.stdout
    assert "! GET /items/{id:int}: hooks = false" in ended.stdout
    assert "! GET /about/: The Flask app has /about: they differ by the slash at the end" in ended.stdout
    assert "WEBSOCKET /ws" in ended.stdout


def test_a_wrong_setting_or_file_is_one_line_and_exit_code_2(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("switches.toml", "share = \n")
    ended = project.run("routes")
    assert ended.exit_code == 2
    assert "switches.toml, line 1" in ended.stderr
    monkeypatch.setenv("GRAFT_LEGACY", "nothing:app")
    ended = project.run("routes")
    assert ended.exit_code == 2
    assert "there is no module 'nothing'" in ended.stderr


def test_a_project_without_routes_says_so(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    empty.write("wsgi.py", "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'']\n")
    empty.write("async_routes/__init__.py", "")
    monkeypatch.setenv("GRAFT_LEGACY", "wsgi:app")
    ended = empty.run("routes")
    assert ended.exit_code == 0
    assert "There is no route to show." in ended.stdout
