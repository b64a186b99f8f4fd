"""Each way to serve: it starts, answers, stops cleanly, and says in one line why it can't."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.parts import wait_until
from tests.parts.gateway import COMMANDS, PROJECT, run_to_the_end, serving

# What an app has behind it that has called gevent.monkey.patch_all().
PATCHED = """\
import sys
from types import SimpleNamespace
sys.modules["gevent.monkey"] = SimpleNamespace(is_module_patched=("socket", "threading").__contains__)
from flask import Flask
app = Flask(__name__)
"""
GATEWAY = """
from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from graft.cli.serve import guard, main
from graft.flaskside.loading import load
from graft.settings import Settings

with guard(__name__):
    settings = Settings.load()
    legacy = load(settings.legacy)


async def search(request):
    return PlainTextResponse("native")


app = Starlette(routes=[Route("/search", search), Mount("/", app=WSGIMiddleware(legacy))])

if __name__ == "__main__":
    main()
"""
LEGACY = """
import os
from flask import Flask

app = Flask(__name__)
not_callable = 42


@app.get("/")
def home():
    return f"legacy {os.getpid()}"
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small project with a Flask app of its own, in a folder with a space in its name."""
    folder = tmp_path / "my project"
    folder.mkdir()
    (folder / "gateway.py").write_text(GATEWAY)
    (folder / "shop.py").write_text(LEGACY)
    (folder / "broken.py").write_text("raise RuntimeError('no database')\n")
    (folder / "patched.py").write_text(PATCHED)
    (folder / ".env").write_text("GRAFT_LEGACY=shop:app\n")
    shutil.copy(PROJECT / "gunicorn.conf.py", folder)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_both_sides_answer_and_sigterm_ends_it_without_a_trace(command: str, folder: Path, tmp_path: Path) -> None:
    with serving(command, folder=folder, log=tmp_path / "log") as gateway:
        assert httpx.get(gateway.base_url + "/").text.startswith("legacy ")
        assert httpx.get(gateway.base_url + "/search").text == "native"
        assert gateway.stop() in (0, -signal.SIGTERM)
    assert "Traceback" not in gateway.log
    assert "Warning" not in gateway.log


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_reaches_the_whole_group_and_ends_it_without_a_traceback(
    command: str, folder: Path, tmp_path: Path
) -> None:
    with serving(command, "--workers", "2", folder=folder, log=tmp_path / "log") as gateway:
        wait_until(lambda: len(gateway.family()) >= 3, 30, "two workers")
        os.killpg(gateway.pid, signal.SIGINT)  # as a terminal does: to every process in the foreground
        assert gateway.process.wait(30) in (0, 130, -signal.SIGINT)
    assert "Traceback" not in gateway.log


def test_four_gunicorn_workers_answer(folder: Path, tmp_path: Path) -> None:
    with serving("gunicorn", "-w", "4", folder=folder, log=tmp_path / "log") as gateway:
        answers = {httpx.get(gateway.base_url + "/").status_code for _ in range(20)}
        workers = gateway.log.count("Booting worker")
    assert answers == {200}
    assert workers == 4


def test_the_banner_says_what_runs_and_where(folder: Path, tmp_path: Path) -> None:
    with serving("python", "--workers", "2", folder=folder, log=tmp_path / "log") as gateway:
        banner = gateway.log.partition("[")[0]
    assert "Gunicorn" in banner
    assert "2 workers" in banner
    assert "shop:app" in banner
    assert "1 route\n" in banner
    assert "embedded" in banner


def test_it_serves_from_its_own_folder_wherever_it_is_started(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(folder / "gateway.py")]
    with serving(command, folder=tmp_path, log=tmp_path / "log") as gateway:
        assert httpx.get(gateway.base_url + "/").text.startswith("legacy ")


def _without(tmp_path: Path, *packages: str) -> dict[str, str]:
    """An environment in which ``packages`` can't be imported."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    lines = ["import sys", *(f"sys.modules[{package!r}] = None" for package in packages)]
    (hidden / "sitecustomize.py").write_text("\n".join(lines))
    return {"PYTHONPATH": os.pathsep.join([str(hidden), str(PROJECT)])}


def test_without_gunicorn_it_falls_back_to_uvicorn_and_says_so(folder: Path, tmp_path: Path) -> None:
    env = _without(tmp_path, "gunicorn")
    with serving("python", "--workers", "2", folder=folder, log=tmp_path / "log", env=env) as gateway:
        assert httpx.get(gateway.base_url + "/search").text == "native"
    assert re.search(r"warning +no gunicorn", gateway.log)
    assert "Uvicorn" in gateway.log


def test_without_uvicorn_the_flask_app_is_served_alone_with_a_warning(folder: Path, tmp_path: Path) -> None:
    env = _without(tmp_path, "uvicorn")
    with serving("python", folder=folder, log=tmp_path / "log", env=env) as gateway:
        assert httpx.get(gateway.base_url + "/").text.startswith("legacy ")
        assert httpx.get(gateway.base_url + "/search").status_code == 404
    assert "no native routes" in gateway.log


def test_prod_does_not_fall_back(folder: Path, tmp_path: Path) -> None:
    env = {**_without(tmp_path, "gunicorn"), "PORT": "0"}
    ended = run_to_the_end([*COMMANDS["python"], "--prod"], folder=folder, env=env)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "pip install gunicorn" in ended.stderr


def test_reload_follows_a_changed_file(folder: Path, tmp_path: Path) -> None:
    with serving("python", "--reload", folder=folder, log=tmp_path / "log") as gateway:
        (folder / "shop.py").write_text(LEGACY.replace("legacy {", "changed {"))
        gateway.wait_for("(?s)Started server process.*Started server process")
        gateway.wait_until_ready("/")
        assert httpx.get(gateway.base_url + "/").text.startswith("changed ")


WRONG = {
    "nowhere:app": "no module 'nowhere'",
    "shop:nothing": "has no 'nothing'",
    "broken:app": "RuntimeError: no database",
    "shop:not_callable": "not callable",
    "patched:app": "has socket, threading patched by gevent.monkey.patch_all()",
}


@pytest.mark.parametrize("legacy", WRONG)
def test_a_wrong_legacy_app_is_one_line_and_exit_code_2(legacy: str, folder: Path) -> None:
    ended = run_to_the_end(COMMANDS["python"], folder=folder, env={"GRAFT_LEGACY": legacy})
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"error: GRAFT_LEGACY={legacy}: ")
    assert WRONG[legacy] in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("legacy", WRONG)
def test_under_gunicorn_a_wrong_legacy_app_ends_the_server_with_the_reason_first(legacy: str, folder: Path) -> None:
    ended = run_to_the_end([*COMMANDS["gunicorn"], "-w", "1"], folder=folder, env={"GRAFT_LEGACY": legacy})
    assert ended.returncode == 4
    assert WRONG[legacy] in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.index("error: GRAFT_LEGACY") < ended.stderr.index("App failed to load")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_under_uvicorn_a_wrong_legacy_app_ends_the_server_with_the_reason(workers: str, folder: Path) -> None:
    command = [*COMMANDS["uvicorn"], "--port", "0", "--workers", workers]
    ended = run_to_the_end(command, folder=folder, env={"GRAFT_LEGACY": "nowhere:app"})
    assert "error: GRAFT_LEGACY=nowhere:app: there is no module 'nowhere'" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["python", "gunicorn"])
def test_a_wrong_setting_is_one_line_and_exit_code_2(command: str, folder: Path) -> None:
    ended = run_to_the_end(COMMANDS[command], folder=folder, env={"LOG_LEVEL": "loud"})
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: LOG_LEVEL: found 'loud'.")
    assert ended.stderr.count("\n") == 1


def test_a_port_in_use_names_its_holder_and_a_free_one(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
        ended = run_to_the_end([*COMMANDS["python"], "--workers", "2", "--port", port], folder=folder)
    assert ended.returncode == 2
    assert f"127.0.0.1:{port} is in use by" in ended.stderr
    assert f"pid {os.getpid()}" in ended.stderr
    assert "python gateway.py --workers 2 --port " in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_each_gunicorn_counts_in_a_folder_of_its_own(folder: Path, tmp_path: Path) -> None:
    with serving("gunicorn", "-w", "2", folder=folder, log=tmp_path / "log") as gateway:
        assert [one.name.rpartition("-")[2] for one in (tmp_path / "var" / "metrics").iterdir()] == [str(gateway.pid)]


def test_workers_of_uvicorn_by_hand_are_told_once_that_they_count_apart(tmp_path: Path) -> None:
    env = {"PORTAL_DATA": str(tmp_path / "var")}
    with serving("uvicorn", "--workers", "3", folder=PROJECT, log=tmp_path / "log", env=env) as gateway:
        gateway.wait_for("(?s)(startup complete.*){3}")
    assert gateway.log.count("Set PROMETHEUS_MULTIPROC_DIR to an empty folder") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_start_tells_once_how_to_get_the_link_and_never_the_token(command: str, folder: Path, tmp_path: Path) -> None:
    program = folder / "gateway.py"
    text = program.read_text().replace("import load\n", "import load\nfrom graft.control.token import admin_token\n")
    program.write_text(text.replace("    legacy =", "    admin_token(settings)\n    legacy ="))
    port = str(free_port())
    options = ["--bind", f"127.0.0.1:{port}"] if command == "gunicorn" else ["--port", port]
    with serving(COMMANDS[command], *options, folder=folder, log=tmp_path / "log", env={"PORT": "8123"}) as gateway:
        assert gateway.log.count("graft open --print shows the dashboard's link") == 1
        kept = re.search(r"is kept at (.+admin-token)\. graft open", gateway.log)
        assert kept is not None
        assert (folder / kept[1]).read_text().strip() not in gateway.log
        assert "8123" not in gateway.log


def test_the_example_gateway_serves(tmp_path: Path) -> None:
    """The project's own gateway, with the Flask app that ships with it."""
    env = {"PORTAL_DATA": str(tmp_path / "var")}
    with serving("gunicorn", "-w", "2", folder=PROJECT, log=tmp_path / "log", env=env) as gateway:
        response = httpx.get(gateway.base_url + "/")
    assert response.headers["x-served-by"] == "legacy"
