"""What an app sees of its process: under the gateway as under plain Gunicorn with threads."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.parts import wait_until
from tests.parts.gateway import COMMANDS, serving

PLAIN = (sys.executable, "-m", "gunicorn", "process_probe:create_app()", "-k", "gthread", "--threads", "4")
STAGES = ("import", "create_app", "request", "exit")
Seen = dict[str, Any]

# What may differ, by a pattern of its place, and why. docs/process.md tells the same to people.
ACCEPTED = {
    r"\w+/argv": "the server's command line",
    r"\w+/signals/SIG(ABRT|INT|QUIT|TERM|WINCH|TTIN|TTOU|USR1|CHLD)": "handled by the server, each its own way",
    r"\w+/environ/SERVER_SOFTWARE": "Gunicorn sets it, Uvicorn does not",
    r"\w+/frozen": "what is there at the start is nothing that the collector looks at",
    r"\w+/logging/loggers/(elastic_transport|urllib3)/handlers": "a NullHandler, by the library that is imported",
    r"exit/decimal": "ContextVars that the import sets stay with the import",
}


def differences(plain: Any, ours: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(plain, dict) and isinstance(ours, dict):
        for name in sorted({*plain, *ours}):
            yield from differences(plain.get(name), ours.get(name), f"{place}/{name}")
    elif plain != ours and not any(re.fullmatch(pattern, place) for pattern in ACCEPTED):
        yield place, plain, ours


def own_filters(filters: list[str]) -> list[str]:
    """Without those that a library adds for a warning of its own when it is imported."""
    return [each for each in filters if not re.search(r"class '(urllib3|requests|elasticsearch)\.", each)]


def seen_under(command: str, folder: Path, *, sets: bool) -> tuple[dict[str, Seen], dict[str, str], str]:
    """What the app saw at each stage, what is in its log files, and what the server wrote."""
    project, out = folder / "project", folder / "out"
    for each in (project, project / "async_routes", out):
        each.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("process_probe.py"), project)
    (project / "async_routes" / "__init__.py").write_text("")
    (project / "gateway.py").write_text("import graft\n\napp = graft.gateway()\n")
    (project / "gunicorn.conf.py").write_text("" if command == "plain" else "from graft.gunicorn import *\n")
    env = {
        "PROBE_OUT": str(out),
        "GRAFT_LEGACY": "process_probe:create_app",
        "GRAFT_DATA": "var",
        "WEB_CONCURRENCY": "1",
        **({"PROBE_SETS": "yes"} if sets else {}),
    }
    words: str | tuple[str, ...] = (*PLAIN, "--bind", "127.0.0.1:0") if command == "plain" else command
    with serving(words, folder=project, log=folder / "log", env=env, ready="/ready") as gateway:
        assert httpx.get(gateway.base_url + "/").text == "looked"
        if sets:  # the app's QueueListener writes in a thread of its own, which ends with the server
            wait_until(lambda: len((out / "listened.log").read_text().splitlines()) >= 3, 10, "the listener to write")
    assert command == "plain" or (project / "var").is_dir(), "GRAFT_DATA has moved"
    assert [each.name for each in out.iterdir() if each.is_dir() or each.suffix == ".toml"] == []
    stages = {each.stem: json.loads(each.read_text().replace(str(folder), "FOLDER")) for each in out.glob("*.json")}
    for seen in stages.values():
        seen["warnings"] = own_filters(seen["warnings"])
        seen["meta path"] = [each for each in seen["meta path"] if not each.startswith("six.")]  # for six.moves alone
        seen["path"] = [each for each in seen["path"] if each]  # Uvicorn's own --app-dir puts one more, empty, in front
    logs = {each.name: each.read_text().replace(str(folder), "FOLDER") for each in out.glob("*.log")}
    return stages, logs, gateway.log


@pytest.fixture(scope="module", params=[False, True], ids=["as it comes", "as the app sets it up"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, Any]:
    return request.param, seen_under("plain", tmp_path_factory.mktemp("plain"), sets=request.param)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_app_sees_its_process_as_under_gunicorn(command: str, plain: tuple[bool, Any], tmp_path: Path) -> None:
    sets, (plain_stages, plain_logs, _) = plain
    stages, logs, written = seen_under(command, tmp_path, sets=sets)
    assert sorted(stages) == sorted(plain_stages) == sorted(STAGES), written
    found = [each for stage in STAGES for each in differences(plain_stages[stage], stages[stage], stage)]
    assert found == []
    assert logs == plain_logs  # nothing of graft.access in the app's files, nothing of the app's lost
    if not sets:
        assert re.search(r"WARNING \[[0-9a-f]+-\d+\] process_probe: the app's own warning", written)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the probe as its app; what it sees goes to the same folder."""
    shutil.copy(Path(__file__).with_name("process_probe.py"), tmp_path)
    (tmp_path / "async_routes").mkdir()
    (tmp_path / "async_routes" / "__init__.py").write_text("")
    (tmp_path / "gateway.py").write_text("import graft\n\napp = graft.gateway()\n")
    (tmp_path / "gunicorn.conf.py").write_text("from graft.gunicorn import *\n")
    (tmp_path / ".env").write_text("GRAFT_LEGACY=process_probe:create_app\nGRAFT_ADMIN_TOKEN=the-token-of-this-test\n")
    return tmp_path


def test_preloaded_workers_count_together_and_draw_different_random_numbers(project: Path) -> None:
    env = {"PROBE_OUT": str(project)}
    drawn: dict[str, str] = {}
    asked = 0
    with serving("gunicorn", "--preload", "-w", "2", folder=project, log=project / "log", env=env) as gateway:
        for _ in range(200):
            pid, _, number = httpx.get(gateway.base_url + "/random").text.partition(" ")
            drawn.setdefault(pid, number)
            asked += 1
            if len(drawn) == 2:
                break
        assert len(set(drawn.values())) == 2
        bearer = {"Authorization": "Bearer the-token-of-this-test"}
        counted = f'graft_requests_total{{route="GET /random",side="legacy",status="2xx"}} {float(asked)}'
        wait_until(lambda: counted in httpx.get(gateway.base_url + "/_graft/metrics", headers=bearer).text, 10, counted)


def test_preloaded_workers_that_are_reloaded_serve_on_and_lose_no_count(project: Path) -> None:
    env = {"PROBE_OUT": str(project)}
    bearer = {"Authorization": "Bearer the-token-of-this-test"}
    with serving("gunicorn", "--preload", "-w", "2", folder=project, log=project / "log", env=env) as gateway:

        def counted() -> float:
            told = httpx.get(gateway.base_url + "/_graft/metrics", headers=bearer).text
            found = re.search(r'graft_requests_total\{route="GET /random",side="legacy",status="2xx"\} (\S+)', told)
            return float(found[1]) if found else 0.0

        pids: set[str] = set()

        def ask() -> None:
            pids.add(httpx.get(gateway.base_url + "/random").text.partition(" ")[0])

        for _ in range(50):
            ask()
        wait_until(lambda: counted() == 50, 10, "what the first workers have counted")
        first = set(pids)
        gateway.process.send_signal(signal.SIGHUP)
        # The old ones leave when the new ones serve: from then on only these can answer.
        wait_until(lambda: gateway.log.count("Worker exiting") == 2, 30, "the end of the old workers")
        for _ in range(50):
            ask()
        wait_until(lambda: counted() == 100, 10, "all counts together")
        assert pids - first


@pytest.mark.parametrize("command", ["gunicorn", "uvicorn"])
def test_what_is_registered_with_atexit_runs_also_when_a_worker_is_reloaded(command: str, project: Path) -> None:
    options = ["--reload"] if command == "uvicorn" else ["-w", "1"]
    env = {"PROBE_OUT": str(project)}
    with serving(command, *options, folder=project, log=project / "log", env=env) as gateway:
        assert not (project / "exit.json").exists()
        if command == "gunicorn":
            gateway.process.send_signal(signal.SIGHUP)
        else:
            (project / "process_probe.py").touch()
        wait_until((project / "exit.json").exists, 30, "the exit of the first worker")


@pytest.mark.parametrize("command", ["gunicorn", "uvicorn"])
def test_what_a_view_sends_behind_its_answer_is_sent_though_the_worker_ends(command: str, project: Path) -> None:
    with serving(command, folder=project, log=project / "log", env={"PROBE_OUT": str(project)}) as gateway:
        assert httpx.get(gateway.base_url + "/mail").text == "queued"
        gateway.process.send_signal(signal.SIGTERM)
        (project / "stopping").touch()
        gateway.process.wait(30)
        assert (project / "mail").exists()


def test_an_app_that_imports_prometheus_is_not_told_of_several_processes(project: Path) -> None:
    """prometheus-flask-exporter and others go by PROMETHEUS_MULTIPROC_DIR, which nobody has set."""
    env = {"PROBE_OUT": str(project)}
    with serving("python", "--workers", "2", folder=project, log=project / "log", env=env) as gateway:
        told = httpx.get(gateway.base_url + "/prometheus").text
    assert told == "None MutexValue"


SETS_UP_LATE = """
import logging.config
from flask import Flask

app = Flask(__name__)

@app.get("/set-up")
def set_up():
    handlers = {"file": {"class": "logging.FileHandler", "filename": "app.log"}}
    logging.config.dictConfig({"version": 1, "handlers": handlers, "root": {"level": "DEBUG", "handlers": ["file"]}})
    return "set up"

@app.get("/sell")
def sell():
    logging.info("sold")
    return "sold"

@app.get("/broken")
def broken():
    raise SystemExit(3)
"""


@pytest.mark.parametrize("command", ["gunicorn", "uvicorn"])
def test_an_app_that_sets_up_its_logging_in_a_request_silences_nobody(command: str, project: Path) -> None:
    """As calibre-web does, and apps with a page for their settings. ``dictConfig`` disables what it does not name."""
    (project / "late.py").write_text(SETS_UP_LATE)
    env = {"GRAFT_LEGACY": "late:app", "WEB_CONCURRENCY": "1"}
    with serving(command, folder=project, log=project / "log", env=env, ready="/sell") as gateway:
        for path in ("/set-up", "/sell", "/broken"):
            httpx.get(gateway.base_url + path)
        gateway.wait_for(r"graft\.access: GET /broken 500")
    assert re.search(r"graft\.access: GET /set-up 200", gateway.log)
    assert "graft.legacy: GET /broken failed" in gateway.log
    assert (project / "app.log").read_text().splitlines()[0] == "sold"
    assert "graft" not in (project / "app.log").read_text()
