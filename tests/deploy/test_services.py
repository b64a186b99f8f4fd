"""systemd, supervisor, the platforms' start files and the way back: checked by their own tools, and started."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import yaml

from graft.settings import Settings
from tests.deploy.running import DEPLOY, PATIENCE, Site, graft
from tests.parts import Process, free_port, program
from tests.parts.gateway import PROJECT, environment

UNIT = DEPLOY / "systemd" / "graft.service"
BIN = Path(sys.executable).parent
SITE = {"GRAFT_LEGACY": "tests.deploy.site.legacy:app", "GRAFT_NATIVE": "tests.deploy.site.native"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that stands in for /: the project is at srv/graft, what is written goes to var/lib and run."""
    (tmp_path / "srv" / "graft").mkdir(parents=True)
    (tmp_path / "srv" / "graft" / ".venv").symlink_to(sys.prefix)
    for name in ("gateway.py", "gunicorn.conf.py", "graft", "legacy_flask", "async_routes", "tests", "docs"):
        (tmp_path / "srv" / "graft" / name).symlink_to(PROJECT / name)
    for folder in ("var/lib/graft", "run/graft", "var/log/supervisor"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def moved(text: str, root: Path) -> str:
    """The file as it would be if ``root`` were /."""
    return re.sub(r"(?<![\w.])/(?=srv/|var/|run/)", f"{root}/", text)


def unit(text: str) -> dict[str, list[str]]:
    """The values of [Service], by name."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values.setdefault(name, []).append(value)
    return values


@contextmanager
def started(root: Path, command: list[str], env: dict[str, str]) -> Iterator[Site]:
    with Site(command, root / "log", env=environment(**SITE, **env), cwd=root / "srv" / "graft") as process:
        process.bind = f"unix:{root}/run/graft/graft.sock"
        process.wait_for(process.ready, PATIENCE, "the site to answer")
        yield process


# -- systemd ----------------------------------------------------------------------------------------------------------


def test_systemd_finds_nothing_wrong_with_the_unit(root: Path) -> None:
    checked = root / "graft.service"
    checked.write_text(moved(UNIT.read_text(), root).replace("file:///srv", f"file://{root}/srv"))
    command = [program("systemd-analyze", "apt install systemd"), "verify", "--man=no", str(checked)]
    result = subprocess.run(command, capture_output=True, text=True)
    said = [line for line in result.stderr.splitlines() if "graft.service" in line]
    assert (result.returncode, said) == (0, []), result.stderr


def test_systemd_rates_the_unit_as_well_confined() -> None:
    command = [program("systemd-analyze", "apt install systemd"), "security", "--offline=true", "--threshold=20"]
    rated = subprocess.run([*command, str(UNIT)], capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    assert rated.returncode == 0, rated.stdout  # 20 of 100: 2.0 of 10, where 10 is wide open


def test_the_unit_starts_reloads_and_stops_as_it_says(root: Path) -> None:
    values = unit(moved(UNIT.read_text(), root))
    env = dict(setting.split("=", 1) for setting in values["Environment"])
    with started(root, shlex.split(values["ExecStart"][0]), {**env, "WEB_CONCURRENCY": "1"}) as process:
        before = process.workers()
        for reload in values["ExecReload"]:
            words = shlex.split(reload.replace("$MAINPID", str(process.pid)))
            subprocess.run(words, check=True, cwd=root / "srv" / "graft", env=environment(**SITE, **env))
        process.wait_for(lambda: process.ready() and not before & process.workers(), PATIENCE, "another worker")
        assert (root / "var" / "lib" / "graft" / "metrics").is_dir()
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


KEY = "GET /both"


def finds_the_service(root: Path, address: str, **env: str) -> None:
    """A person in another folder sees the routes of the service that runs, and takes them back in the file it reads."""
    file = root / "var" / "lib" / "graft" / "switches.toml"
    here = root / "home"
    here.mkdir(exist_ok=True)
    code, out, err = graft("routes", "--switched", folder=here, **env)
    assert (code, KEY in out) == (0, True), err
    assert f"{file}, the gateway at {address} (process " in err
    file.write_text(f'["{KEY}"]\nshare = 50\n')
    code, out, err = graft("rollback", "--all", folder=here, **env)
    assert (code, out) == (0, f"{KEY}: share 50 -> 0\n"), err
    assert err.startswith(f"{file} was changed; the gateway at {address}")
    assert "share = 0" in file.read_text()
    assert list(here.iterdir()) == []


def test_the_command_line_finds_the_service_from_any_folder(root: Path) -> None:
    values = unit(moved(UNIT.read_text(), root))
    env = dict(setting.split("=", 1) for setting in values["Environment"])
    assert values["RuntimeDirectory"] == ["graft"]
    env["RUNTIME_DIRECTORY"] = f"{root}/run/graft"  # systemd sets it
    # The folder of the machine, /run, is the one of a session here.
    with started(root, shlex.split(values["ExecStart"][0]), {**env, "WEB_CONCURRENCY": "1"}) as process:
        process.wait_for(lambda: list((root / "run/graft/gateways").iterdir()), PATIENCE, "the link")
        finds_the_service(root, process.bind, XDG_RUNTIME_DIR=f"{root}/run")
    code, out, err = graft("rollback", "--all", folder=root / "home", XDG_RUNTIME_DIR=f"{root}/run")
    assert (code, out) == (2, ""), err


def test_a_reload_with_broken_code_is_refused_before_it_costs_anything(root: Path) -> None:
    """systemd runs the lines of ExecReload one after the other, and stops at one that fails."""
    values = unit(moved(UNIT.read_text(), root))
    env = dict(setting.split("=", 1) for setting in values["Environment"])
    (root / "srv" / "graft" / "broken.py").write_text("import nothing_of_that_name\n")
    first = shlex.split(values["ExecReload"][0])
    settings = environment(**{**SITE, **env, "GRAFT_LEGACY": "broken:app"})
    refused = subprocess.run(first, cwd=root / "srv" / "graft", env=settings, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "broken.py:1" in refused.stderr
    assert values["ExecReload"][1].startswith("/bin/kill -s HUP")


def test_the_unit_gives_more_time_to_stop_than_gunicorn_takes() -> None:
    grace = Settings.model_fields["graceful_timeout"].default
    supervisor = configparser.ConfigParser(inline_comment_prefixes=None)
    supervisor.read(DEPLOY / "supervisor" / "graft.conf")
    assert int(unit(UNIT.read_text())["TimeoutStopSec"][0]) > grace
    assert int(supervisor["program:graft"]["stopwaitsecs"]) > grace


# -- supervisor -------------------------------------------------------------------------------------------------------

SUPERVISORD = """
[supervisord]
nodaemon=true
{user}
logfile={root}/supervisord.log
pidfile={root}/supervisord.pid
[unix_http_server]
file={root}/supervisor.sock
[supervisorctl]
serverurl=unix://{root}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[include]
files = {root}/graft.conf
"""


def test_supervisor_starts_reloads_and_stops_it(root: Path) -> None:
    text = moved((DEPLOY / "supervisor" / "graft.conf").read_text(), root)
    text = text.replace("user=graft\n", "").replace("startsecs=3", "startsecs=0")
    extra = "".join(f',{name}="{value}"' for name, value in {**SITE, "WEB_CONCURRENCY": "1"}.items())
    (root / "graft.conf").write_text(re.sub(r"^(environment=.*)$", rf"\1{extra}", text, flags=re.M))
    user = "user=root" if os.geteuid() == 0 else ""
    (root / "supervisord.conf").write_text(SUPERVISORD.format(root=root, user=user))

    def control(*words: str) -> str:
        command = [str(BIN / "supervisorctl"), "-c", str(root / "supervisord.conf"), *words]
        return subprocess.run(command, capture_output=True, text=True).stdout

    command = [BIN / "supervisord", "-c", root / "supervisord.conf"]
    (root / "tmp").mkdir()
    env = {"TMPDIR": f"{root}/tmp", "XDG_RUNTIME_DIR": ""}
    with Site(command, root / "log", env=environment(PYTHONWARNINGS="ignore", **env), cwd=root) as process:
        process.bind = f"unix:{root}/run/graft/graft.sock"
        process.wait_for(process.ready, PATIENCE, "the site to answer")
        finds_the_service(root, process.bind, **env)
        assert "RUNNING" in control("status", "graft")
        with process.client() as client:
            before = client.get("/native").json()["pid"]
        assert "graft: signalled" in control("signal", "HUP", "graft")

        def another() -> bool:
            with process.client() as client:
                return bool(client.get("/native").json()["pid"] != before)

        process.wait_for(another, PATIENCE, "another worker")
        assert "graft: stopped" in control("stop", "graft")
        assert not Path(process.bind.removeprefix("unix:")).exists()


# -- platforms --------------------------------------------------------------------------------------------------------


def answers(port: int, path: str = "/native") -> Any:
    with httpx.Client(timeout=PATIENCE) as client:
        answer = client.get(f"http://127.0.0.1:{port}{path}", headers={"X-Forwarded-For": "198.51.100.7, 203.0.113.9"})
    return answer.json() if answer.status_code == 200 else None


@contextmanager
def on_port(command: list[str], folder: Path, port: int, path: str, **env: str) -> Iterator[Process]:
    """``command`` in the project's folder with PORT set, once ``path`` answers."""
    settings = environment(PORT=str(port), WEB_CONCURRENCY="1", PORTAL_DATA=str(folder), **env)
    settings["PATH"] = f"{BIN}:{settings['PATH']}"
    with Process(command, folder / "log", env=settings, cwd=PROJECT) as process:
        process.wait_for(lambda: httpx.get(f"http://127.0.0.1:{port}{path}").status_code < 500, PATIENCE, "an answer")
        yield process


def test_the_procfile_is_one_that_honcho_takes_and_starts(tmp_path: Path) -> None:
    procfile = DEPLOY / "paas" / "Procfile"
    honcho = [str(BIN / "honcho"), "-f", str(procfile), "-e", os.devnull]
    assert "Valid procfile" in subprocess.run([*honcho, "check"], capture_output=True, text=True).stderr
    port = free_port()
    # honcho gives its first web process PORT itself
    command = [*honcho, "start", "--port", str(port), "web"]
    with on_port(command, tmp_path, port, "/native", **SITE, GRAFT_DATA=str(tmp_path)):
        assert answers(port)["version"] == "1"


def test_behind_a_routers_network_the_client_is_the_one_that_the_router_saw(tmp_path: Path) -> None:
    """Heroku's router appends to X-Forwarded-For: what the client wrote before it is not believed."""
    words = (DEPLOY / "paas" / "Procfile").read_text().removeprefix("web:").strip()
    assert "FORWARDED_ALLOW_IPS=10.0.0.0/8" in words
    port = free_port()
    nearby = words.replace("10.0.0.0/8", "127.0.0.0/8").replace("HOST=0.0.0.0", "HOST=127.0.0.1")
    with on_port(["env", *shlex.split(nearby)], tmp_path, port, "/native", **SITE, GRAFT_DATA=str(tmp_path)):
        assert answers(port)["client"] == "203.0.113.9"


def test_app_engine_starts_it_as_app_yaml_says(tmp_path: Path) -> None:
    config = yaml.safe_load((DEPLOY / "paas" / "app.yaml").read_text())
    assert re.fullmatch(r"python3\d+", config["runtime"])
    assert set(config) <= {"runtime", "entrypoint", "instance_class", "env_variables", "handlers", "automatic_scaling"}
    assert all(isinstance(value, str) for value in config["env_variables"].values())
    assert (PROJECT / config["handlers"][0]["static_dir"]).is_dir()
    assert config["handlers"][-1]["url"] == "/.*"
    env = {**config["env_variables"], **SITE, "GRAFT_DATA": str(tmp_path), "HOST": "127.0.0.1"}
    env.pop("PORTAL_DATA")
    env.pop("WEB_CONCURRENCY")
    port = free_port()
    command = ["sh", "-c", "exec " + config["entrypoint"].replace(":$PORT", "127.0.0.1:$PORT")]
    with on_port(command, tmp_path, port, "/native", **env):
        assert answers(port)["client"] == "203.0.113.9"


# -- the way back -----------------------------------------------------------------------------------------------------


def test_waitress_serves_the_flask_app_alone(tmp_path: Path) -> None:
    port = free_port()
    with on_port([str(DEPLOY / "legacy-alone" / "waitress.sh")], tmp_path, port, "/about"):
        answer = httpx.get(f"http://127.0.0.1:{port}/about")
    assert answer.status_code == 200
    assert answer.headers["server"] == "waitress"


def test_uwsgi_serves_the_flask_app_alone(tmp_path: Path) -> None:
    uwsgi = shutil.which("uwsgi", path=str(BIN)) or program("uwsgi", "pip install pyuwsgi")
    port = free_port()
    command = [uwsgi, "--ini", str(DEPLOY / "legacy-alone" / "uwsgi.ini"), "--processes", "1"]
    if sys.prefix != sys.base_prefix:
        command += ["--virtualenv", sys.prefix]
    with on_port(command, tmp_path, port, "/about") as process:
        answer = httpx.get(f"http://127.0.0.1:{port}/about")
        os.kill(process.pid, signal.SIGTERM)
        process.wait(PATIENCE)
    assert answer.status_code == 200
    assert "x-served-by" not in answer.headers
