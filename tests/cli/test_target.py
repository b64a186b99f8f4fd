"""The gateway that a command means: found from any folder, never guessed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from graft.gateways import places, processes, units
from graft.gateways.publishing import Publication
from graft.gateways.record import GatewayRecord
from graft.settings import Settings
from tests.cli.project import APP, ROUTES, Project
from tests.parts import free_port, wait_until
from tests.parts.gateway import COMMANDS, PROJECT, Gateway, environment, serving

KEY = "GET /items/{id:int}"


class Machine:
    """A folder that stands in for a machine: projects, gateways, and a person who is somewhere else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.run = folder / "run"
        self.run.mkdir(mode=0o700)

    def project(self, name: str) -> Project:
        project = Project(self.folder / name)
        project.write("shop.py", APP)
        project.write("async_routes/__init__.py", ROUTES)
        project.write(".env", "GRAFT_LEGACY=shop:app\nWEB_CONCURRENCY=1\n")
        for file in ("gateway.py", "gunicorn.conf.py"):
            shutil.copy(PROJECT / file, project.folder)
        return project

    @contextmanager
    def gateway(self, project: Project, command: str = "gunicorn", *options: str, **env: str) -> Iterator[Gateway]:
        settings = {"XDG_RUNTIME_DIR": str(self.run), "GRAFT_DATA": str(project.folder / "var"), **env}
        log = self.folder / f"{project.folder.name}.log"
        with serving(command, *options, folder=project.folder, log=log, env=settings, ready="/about") as gateway:
            wait_until(lambda: places.records_in(Path(settings["GRAFT_DATA"])), 10, "the record")
            yield gateway

    def graft(self, *words: str, folder: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        settings = environment(**{"XDG_RUNTIME_DIR": str(self.run), "TMPDIR": str(self.run), **env})
        settings.pop("PORT")
        return subprocess.run(
            [sys.executable, "-m", "graft", *words],
            cwd=folder or self.elsewhere,
            env={name: value for name, value in settings.items() if value},
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_way_to_serve_is_found_from_another_folder(command: str, machine: Machine) -> None:
    project = machine.project("shop")
    file = project.write("switches.toml", f'["{KEY}"]\nshare = 50\n')
    with machine.gateway(project, command) as gateway:
        shown = machine.graft("routes", "--json")
        assert (shown.returncode, json.loads(shown.stdout)["routes"][0]["share"]) == (0, 50), shown.stderr
        assert f"{file}, the gateway at {gateway.base_url}" in shown.stderr or command == "uvicorn"
        back = machine.graft("rollback", "--all")
        assert (back.returncode, back.stdout) == (0, f"{KEY}: share 50 -> 0\n"), back.stderr
        assert back.stderr.startswith(f"{file} was changed; the gateway at ")
        again = machine.graft("rollback", "--all")
        assert (again.returncode, again.stdout) == (0, f"Every route in {file} is at share 0 already.\n")
    assert "share = 0" in file.read_text()
    ended = machine.graft("rollback", "--all")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "No gateway is found on this machine" in ended.stderr
    assert list((project.folder / "var" / "gateways").iterdir()) == []


def test_it_is_found_by_its_socket_and_asked_over_it(machine: Machine) -> None:
    project = machine.project("shop")
    address = f"unix:{machine.folder}/graft.sock"
    command = [*COMMANDS["gunicorn"], "--bind", address]
    env = {"XDG_RUNTIME_DIR": str(machine.run), "GRAFT_DATA": str(project.folder / "var")}
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(command, cwd=project.folder, env=environment(**env), stderr=subprocess.DEVNULL)
        )
        stack.callback(process.terminate)
        wait_until(lambda: places.records_in(project.folder / "var"), 30, "the record")
        for words in (("--gateway", address), ("--gateway", str(project.folder)), ()):
            asked = machine.graft(*words, "promote", KEY)
            assert "can't be asked" not in asked.stderr
            assert asked.returncode == 1, asked.stderr
        opened = machine.graft("open", "--print")
        assert opened.stdout.startswith("/_graft/#token=")
        assert address in opened.stderr


def test_the_gateway_of_this_folder_is_meant_before_others_and_none_is_guessed(machine: Machine) -> None:
    shop, forum = machine.project("shop"), machine.project("forum")
    (shop.folder / "deep" / "down").mkdir(parents=True)
    for project in (shop, forum):
        project.write("switches.toml", f'["{KEY}"]\nshare = 50\n')
    with machine.gateway(shop) as one, machine.gateway(forum) as other:
        guess = machine.graft("rollback", "--all")
        assert (guess.returncode, guess.stdout) == (2, "")
        assert "Several gateways are running" in guess.stderr
        assert {f"--gateway {one.base_url}", f"--gateway {other.base_url}"} <= {
            way.strip(" .\n") for way in guess.stderr.partition("meant: ")[2].split(" or ")
        }
        assert "share = 50" in (shop.folder / "switches.toml").read_text()
        assert machine.graft("rollback", "--all", folder=shop.folder / "deep" / "down").returncode == 0
        assert "share = 0" in (shop.folder / "switches.toml").read_text()
        assert "share = 50" in (forum.folder / "switches.toml").read_text()
        assert machine.graft("--gateway", other.base_url, "rollback", "--all", folder=shop.folder).returncode == 0
        assert "share = 0" in (forum.folder / "switches.toml").read_text()
        data = machine.graft("shift", KEY, "7", GRAFT_DATA=str(forum.folder / "var"))
        assert (data.returncode, data.stdout) == (0, f"{KEY}: share 0 -> 7, mirror 100\n")
        unknown = machine.graft("--gateway", "http://127.0.0.1:9", "rollback", "--all")
        assert unknown.returncode == 2
        assert "is known to listen at http://127.0.0.1:9. Running here: " in unknown.stderr


def test_a_project_that_is_down_is_not_taken_for_one_that_runs_elsewhere(machine: Machine) -> None:
    """A checkout of the same project, on the machine that serves it: the file there is nobody's."""
    site, checkout = machine.project("site"), machine.project("checkout")
    site.write("switches.toml", f'["{KEY}"]\nshare = 50\n')
    checkout.write("switches.toml", f'["{KEY}"]\nshare = 50\n')
    with machine.gateway(site) as gateway:
        refused = machine.graft("rollback", "--all", folder=checkout.folder)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"--gateway {gateway.base_url} or --gateway {checkout.folder}" in refused.stderr
        assert "share = 50" in (checkout.folder / "switches.toml").read_text()
        shown = machine.graft("routes", folder=checkout.folder)
        assert (shown.returncode, "no gateway is running" in shown.stderr) == (0, True)
        named = machine.graft("--gateway", ".", "rollback", "--all", folder=checkout.folder)
        assert named.returncode == 0
        assert f"no gateway is running; {checkout.folder}/switches.toml was changed" in named.stderr


def test_what_is_named_is_found_by_its_process_where_no_link_leads_to_it(machine: Machine) -> None:
    """A shell of cron's or of sudo's has no XDG_RUNTIME_DIR, or another one."""
    project = machine.project("shop")
    project.write("switches.toml", "")  # of nobody
    file = project.write("state/own.toml", f'["{KEY}"]\nshare = 50\n')
    address = f"unix:{machine.folder}/graft.sock"
    own = {"GRAFT_DATA": str(file.parent), "GRAFT_SWITCHES": str(file)}
    shell = {"XDG_RUNTIME_DIR": str(machine.elsewhere)}
    command = ("gunicorn", "--bind", "127.0.0.1:0", "--bind", address)
    with machine.gateway(project, *command, **own) as gateway:
        port = gateway.base_url.rpartition(":")[2]
        ways = (str(project.folder), address, gateway.base_url, f"http://localhost:{port}")
        for way in ways:
            file.write_text(f'["{KEY}"]\nshare = 50\n')
            back = machine.graft("--gateway", way, "rollback", "--all", **shell)
            assert (back.returncode, back.stdout) == (0, f"{KEY}: share 50 -> 0\n"), back.stderr
            assert f"{file} was changed; the gateway at " in back.stderr
        elsewhere = machine.graft("--gateway", f"unix:{machine.folder}/none.sock", "rollback", "--all", **shell)
        assert elsewhere.returncode == 2
        assert f"Looked for in {places.SYSTEM}/gateways, {machine.elsewhere}/graft/gateways" in elsewhere.stderr
    # With the gateway down, or where its process may not be seen, nobody knows by which file it goes.
    down = machine.graft("--gateway", str(project.folder), "rollback", "--all", **shell)
    assert (down.returncode, down.stdout) == (2, "")
    assert "Nothing was changed: no gateway is running with" in down.stderr


def test_an_address_is_looked_for_in_the_data_folder_of_the_environment(
    empty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the gateway is another user's, its processes do not count."""
    monkeypatch.setattr(processes, "running_at", lambda _: [])
    settings = Settings.load(data=empty.folder / "var", switches=empty.folder / "switches.toml", port=8123)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(empty.folder))
    Publication(settings).write()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(empty.folder / "another"))
    words = ("--gateway", "http://127.0.0.1:8123", "history", "--json")
    monkeypatch.setenv("GRAFT_DATA", str(settings.data))
    assert json.loads(empty.run(*words).stdout) == {"history": []}
    monkeypatch.setenv("GRAFT_DATA", str(empty.folder))
    assert empty.run(*words).exit_code == 2


def test_a_switches_file_that_is_not_the_gateways_is_refused(machine: Machine) -> None:
    project = machine.project("shop")
    other = machine.elsewhere / "switches.toml"
    other.write_text(f'["{KEY}"]\nshare = 50\n')
    with machine.gateway(project):
        refused = machine.graft("rollback", "--all", GRAFT_DATA=str(project.folder / "var"), GRAFT_SWITCHES=str(other))
        assert (refused.returncode, "Name one of the two" in refused.stderr) == (2, True)
    assert "share = 50" in other.read_text()


def test_with_the_gateway_down_a_file_that_is_named_or_in_place_is_changed(machine: Machine) -> None:
    project = machine.project("shop")
    file = project.write("switches.toml", f'["{KEY}"]\nshare = 50\n')
    here = machine.graft("shift", KEY, "10", folder=project.folder)
    assert (here.returncode, here.stdout) == (0, f"{KEY}: share 50 -> 10, mirror 100\n")
    assert here.stderr.endswith(f"no gateway is running; {file} was changed\n")
    named = machine.graft("rollback", "--all", GRAFT_SWITCHES=str(file))
    assert (named.returncode, named.stdout) == (0, f"{KEY}: share 10 -> 0\n")
    (project.folder / "var").mkdir(exist_ok=True)
    shutil.move(file, project.folder / "var" / "switches.toml")
    again = machine.graft("rollback", "--all", GRAFT_DATA=str(project.folder / "var"))
    assert (again.returncode, "is at share 0 already" in again.stdout) == (0, True)
    nothing = machine.graft("rollback", "--all", GRAFT_DATA=str(machine.elsewhere))
    assert (nothing.returncode, "no switches.toml is there" in nothing.stderr) == (2, True)


def test_a_wrong_folder_is_never_at_share_0_already(machine: Machine) -> None:
    for words in (("rollback", "--all"), ("rollback", KEY), ("shift", KEY, "5"), ("routes",), ("release", KEY)):
        result = machine.graft(*words)
        assert (result.returncode, result.stdout) == (2, ""), words
        assert "nothing was changed" in result.stderr
    assert list(machine.elsewhere.iterdir()) == []


def test_a_file_that_is_named_and_not_there_is_no_file_at_share_0(machine: Machine) -> None:
    """GRAFT_SWITCHES is relative to the folder that the command is given in."""
    result = machine.graft("rollback", "--all", GRAFT_SWITCHES="switches.toml")
    assert (result.returncode, result.stdout) == (2, "")
    assert f"no gateway is running with {machine.elsewhere}/switches.toml" in result.stderr


def test_a_gateway_that_was_killed_is_not_found_any_more(machine: Machine) -> None:
    project = machine.project("shop")
    with machine.gateway(project, "uvicorn") as gateway:
        os.kill(gateway.pid, signal.SIGKILL)
        gateway.process.wait()
        assert machine.graft("rollback", "--all").returncode == 2
        left = machine.graft("--gateway", str(project.folder), "routes")
        assert (left.returncode, "no gateway is running" in left.stderr) == (0, True)


def test_after_hup_and_another_address_it_is_found_as_it_is_now(machine: Machine) -> None:
    project = machine.project("shop")
    port = free_port()
    data = project.folder / "var"
    with machine.gateway(project) as gateway:
        [before] = places.running_in(data)
        env = project.folder / ".env"
        env.write_text(env.read_text() + f"GRAFT_SWITCHES={machine.folder}/other.toml\n")
        conf = project.folder / "gunicorn.conf.py"
        conf.write_text(conf.read_text() + f'\nbind = "127.0.0.1:{port}"\n')
        os.kill(gateway.pid, signal.SIGHUP)

        def changed() -> GatewayRecord | None:
            [now] = places.running_in(data)
            return now if now != before else None

        now = wait_until(changed, 20, "the record of now")
        assert now is not None
        assert (now.pid, now.switches) == (before.pid, machine.folder / "other.toml")
        assert now.addresses == (f"http://127.0.0.1:{port}",)
        gateway.base_url = f"http://127.0.0.1:{port}"


def test_what_another_user_keeps_is_one_sentence(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    empty.write("var/gateways/x.json", "{}")
    empty.write("var/switches.toml", f'["{KEY}"]\nshare = 50\n')
    monkeypatch.setenv("GRAFT_DATA", str(empty.folder / "var"))
    empty.run("rollback", "--all")  # imports what the other user may not read
    monkeypatch.chdir("/")
    os.seteuid(65534)  # pytest's folders are root's alone
    try:
        refused = empty.run("rollback", "--all")
    finally:
        os.seteuid(0)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"error: {empty.folder}/var/gateways may not be read or written by this user." in refused.stderr


# -- services that are set up and down --------------------------------------------------------------------------------

UNIT = """
[Service]
# ExecStart=/bin/false
WorkingDirectory={folder}
Environment=GRAFT_DATA={folder}/kept "GRAFT_LEGACY=shop:app"
Environment=GRAFT_SWITCHES=/nowhere.toml
EnvironmentFile=-{folder}/not-there.env
EnvironmentFile={folder}/graft.env
ExecStart={folder}/.venv/bin/gunicorn gateway:app \\
    --bind unix:/run/graft/graft.sock
"""
PROGRAM = """
[program:graft]
command={folder}/.venv/bin/gunicorn gateway:app
directory={folder}
environment=GRAFT_DATA="{folder}/kept",GRAFT_SWITCHES="{folder}/kept/switches.toml",GRAFT_LEGACY="shop:app"
[program:other]
command=/usr/bin/true
"""


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    monkeypatch.setattr(units, "SYSTEMD", (tmp_path / "systemd",))
    monkeypatch.setattr(units, "SUPERVISOR", (tmp_path / "supervisor",))
    monkeypatch.setenv("HOME", str(tmp_path))

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_a_systemd_unit_is_read_as_systemd_reads_it(services: Callable[[str, str], Path], tmp_path: Path) -> None:
    services("systemd/graft.service", UNIT.format(folder=tmp_path))
    services("systemd/other.service", "[Service]\nExecStart=/usr/bin/true\n")
    services("systemd/graft.service.d/own.conf", f"[Service]\nWorkingDirectory={tmp_path}/srv\nEnvironment=PORT=9000\n")
    services("graft.env", f"GRAFT_SWITCHES={tmp_path}/kept/switches.toml\n# a comment\nWORDS='a b'\n")
    [unit] = units.units()
    assert unit.folder == tmp_path / "srv"
    assert unit.environment() == {
        "GRAFT_DATA": f"{tmp_path}/kept",
        "GRAFT_LEGACY": "shop:app",
        "GRAFT_SWITCHES": f"{tmp_path}/kept/switches.toml",
        "PORT": "9000",
        "WORDS": "a b",
    }


def test_a_supervisor_program_is_read_as_supervisor_reads_it(
    services: Callable[[str, str], Path], tmp_path: Path
) -> None:
    services("supervisor/graft.conf", PROGRAM.format(folder=tmp_path))
    [unit] = units.units()
    assert (unit.folder, unit.environment()["GRAFT_SWITCHES"]) == (tmp_path, f"{tmp_path}/kept/switches.toml")


@pytest.mark.parametrize(
    "text", ["", "[Service\n", "[program:x]\ncommand", "\x00", "[program:a]\ncommand=%(x)s gateway:app\n"]
)
def test_a_broken_unit_is_nobodys(services: Callable[[str, str], Path], text: str) -> None:
    services("systemd/a.service", text)
    services("supervisor/a.conf", text)
    assert all(unit.environment() == {} for unit in units.units())


@pytest.mark.parametrize("kind", ["systemd", "supervisor"])
def test_the_service_that_is_down_is_found_by_its_unit(
    kind: str, empty: Project, services: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = empty.folder
    empty.write("shop.py", APP)
    empty.write("gateway.py", "")
    empty.write("switches.toml", f'["{KEY}"]\nshare = 80\n')  # of nobody
    kept = empty.write("kept/switches.toml", f'["{KEY}"]\nshare = 50\n')
    empty.write("graft.env", f"GRAFT_SWITCHES={kept}\n")
    (folder / "home").mkdir()
    text = UNIT if kind == "systemd" else PROGRAM
    services(f"{kind}/graft.{'service' if kind == 'systemd' else 'conf'}", text.format(folder=folder))
    for name in ("GRAFT_DATA", "GRAFT_SWITCHES", "GRAFT_LEGACY"):
        monkeypatch.setenv(name, "")
    for place in (folder / "home", folder):
        monkeypatch.chdir(place)
        kept.write_text(f'["{KEY}"]\nshare = 50\n')
        for name in ("GRAFT_DATA", "GRAFT_SWITCHES", "GRAFT_LEGACY"):
            monkeypatch.setenv(name, "")
        result = empty.run("rollback", "--all")
        assert (result.exit_code, result.stdout) == (0, f"{KEY}: share 50 -> 0\n"), result.output
        assert f"no gateway is running; {kept} was changed" in result.stderr
    assert "share = 80" in (folder / "switches.toml").read_text()


def test_a_rollback_is_taken_while_switches_toml_is_broken(machine: Machine) -> None:
    project = machine.project("shop")
    good = f'["{KEY}"]\nshare = 100\n'
    file = project.write("switches.toml", good)
    with machine.gateway(project) as gateway:

        def side() -> str:
            return httpx.get(f"{gateway.base_url}/items/7", timeout=30).headers["x-served-by"]

        assert side() == "native"
        file.write_text(f"{good}nonsense = [[[\n")
        shown = machine.graft("routes", "--json")
        assert (shown.returncode, json.loads(shown.stdout)["routes"][0]["share"]) == (0, 100), shown.stderr
        assert "The last good state is shown" in shown.stderr
        back = machine.graft("rollback", "--all")
        [kept] = file.parent.glob("switches.toml.broken-*")
        assert (back.returncode, back.stdout) == (0, f"{KEY}: share 100 -> 0\n"), back.stderr
        assert f"{file} was broken: it was set aside as {kept}" in back.stderr
        assert kept.read_text() == f"{good}nonsense = [[[\n"
        wait_until(lambda: side() == "legacy", 30, "the rollback")
