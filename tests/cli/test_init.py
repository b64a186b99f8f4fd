from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import graft
from graft.cli import init, main, own_wheel, project_files
from graft.cli.project_files import requirement
from graft.settings import Settings
from tests.cli.project import Project
from tests.parts import Process, free_port, missing

ROOT = Path(graft.__file__).parents[1]
APP = "from flask import Flask\napp = Flask(__name__)\n"
WRITTEN = [
    *(".env", ".gitignore", "async_routes", "deploy", "gateway.py", "gunicorn.conf.py", "requirements.txt", "tests"),
    "vendor",
]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_writes_what_is_needed_and_names_the_next_three_steps(empty: Project) -> None:
    empty.write("app.py", APP)
    ended = empty.run("init")
    assert ended.exit_code == 0, ended.output
    assert "The Flask app is app:app (read in app.py:2)." in ended.stdout
    assert names(empty.folder) == sorted([*WRITTEN, "app.py"])
    assert names(empty.folder / "async_routes") == ["__init__.py", "hello.py"]
    assert (empty.folder / ".env").read_text().endswith("\nGRAFT_LEGACY=app:app\n")
    assert "graft" in (empty.folder / "requirements.txt").read_text()
    steps = [line.split()[0] for line in ended.stdout.split("Next:")[1].splitlines() if line.startswith("  ")]
    assert steps == ["1.", "2.", "3."]


def test_what_it_writes_leaves_nothing_to_keep_in_step_with_graft(empty: Project) -> None:
    empty.write("app.py", APP)
    empty.run("init")
    for name in ("gateway.py", "gunicorn.conf.py"):
        code = [line for line in (empty.folder / name).read_text().splitlines() if line and '"""' not in line]
        assert len(code) <= 2, name


def test_the_first_test_passes(empty: Project) -> None:
    empty.write("app.py", APP)
    empty.run("init")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GRAFT_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    done = subprocess.run(command, cwd=empty.folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert not (empty.folder / "var").exists()


def test_a_dry_run_writes_nothing(empty: Project) -> None:
    empty.write("app.py", APP)
    ended = empty.run("init", "--dry-run")
    assert "would write  gateway.py" in ended.stdout
    assert names(empty.folder) == ["app.py"]


def test_it_overwrites_nothing(empty: Project) -> None:
    texts = {
        "app.py": APP,
        "gateway.py": "print('ours')\n",
        "gunicorn.conf.py": "workers = 1\n",
        "async_routes/__init__.py": "",
        ".env": "SECRET=1\nGRAFT_LEGACY=other:app\n",
        "requirements.txt": "flask\ngraft==0.0.1\n",
    }
    for name, text in texts.items():
        (empty.write(name, "")).write_text(text)
    ended = empty.run("init")
    assert ended.exit_code == 0
    for name, text in texts.items():
        assert (empty.folder / name).read_text() == text
    assert "there are no shared metrics" in ended.stdout
    assert "it has GRAFT_LEGACY=other:app" in ended.stdout
    assert "app = graft.gateway()" in (empty.folder / "graft_gateway.py").read_text()
    assert "python graft_gateway.py" in ended.stdout


def test_what_is_there_is_added_to_at_its_end(empty: Project) -> None:
    empty.write("app.py", APP)
    (empty.folder / ".env").write_bytes(b"SECRET=1")
    (empty.folder / "requirements.txt").write_bytes(b"flask\r\n")
    empty.run("init")
    assert (empty.folder / ".env").read_text().startswith("SECRET=1\n\n# The Flask app")
    assert (empty.folder / "requirements.txt").read_bytes().startswith(b"flask\r\n\n# The async side")


def test_a_second_run_changes_nothing(empty: Project) -> None:
    empty.write("app.py", APP)
    empty.run("init")
    before = {path: path.read_bytes() for path in empty.folder.rglob("*") if path.is_file()}
    ended = empty.run("init")
    assert ended.exit_code == 0
    assert "write" not in ended.stdout
    assert {path: path.read_bytes() for path in empty.folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("target", ["shop:create_app('a')", 'shop:create_app("b", debug=True)', "shop.web:app"])
def test_the_app_that_is_named_is_read_back_as_it_was(empty: Project, target: str) -> None:
    assert empty.run("init", "--app", target).exit_code == 0
    assert Settings.load().legacy == target


def test_an_app_without_an_attribute_is_a_usage_error(empty: Project) -> None:
    ended = empty.run("init", "--app", "shop")
    assert ended.exit_code == 2
    assert "is not module:attribute" in ended.stderr
    assert names(empty.folder) == []


def test_where_there_is_no_app_it_asks_for_the_name(empty: Project) -> None:
    ended = empty.run("init")
    assert ended.exit_code == 2
    assert "no Flask app was found" in ended.stderr
    assert "--app module:attribute" in ended.stderr
    empty.write("__init__.py", "")
    assert "go one up" in empty.run("init").stderr


def test_several_apps_are_named_and_on_a_terminal_asked_for(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    empty.write("app.py", APP)
    empty.write("admin.py", APP)
    assert "Also found: admin:app" in empty.run("init", "--dry-run").stdout
    monkeypatch.setattr(init, "_is_terminal", lambda: True)
    ended = CliRunner().invoke(main, ["init", "--dry-run"], input="2\n")
    assert "The Flask app is admin:app" in ended.stdout


def test_another_folder_and_its_odds_are_pointed_out(empty: Project, tmp_path: Path) -> None:
    empty.write(
        "my shop/src/shop/__init__.py", "from flask import Flask\ndef create_app(kind):\n    return Flask(kind)\n"
    )
    ended = empty.run("init", "my shop")
    assert "It needs arguments (kind)" in ended.stdout
    assert "It is below src" in ended.stdout
    assert "cd 'my shop' && pip install" in ended.stdout
    assert names(tmp_path / "my shop") == sorted([*WRITTEN, "src"])


def test_files_that_can_t_be_read_or_written_are_one_line(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    empty.write("app.py", APP)
    (empty.folder / "requirements.txt").write_bytes(b"\xff\xfe\n")
    ended = empty.run("init")
    assert ended.exit_code == 2
    assert "requirements.txt can't be read" in ended.stderr
    (empty.folder / "requirements.txt").unlink()
    (empty.folder / ".env").write_bytes(b"A=\xff\n")
    assert ".env can't be read" in empty.run("init").stderr
    (empty.folder / ".env").unlink()

    def full(step: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(project_files, "_take", full)
    ended = empty.run("init")
    assert ended.exit_code == 2
    assert "can't be written: No space left on device" in ended.stderr


def test_a_file_that_somebody_makes_meanwhile_is_left_alone(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    empty.write("app.py", APP)
    take = project_files._take

    def late(step: project_files.Step) -> None:
        step.path.write_text("theirs")
        take(step)

    monkeypatch.setattr(project_files, "_take", late)
    ended = empty.run("init")
    assert ended.exit_code == 2
    assert "it was left alone" in ended.stderr
    assert (empty.folder / "gateway.py").read_text() == "theirs"


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (None, "graft-asgi==1.2.3"),
        ('{"url": "file:///srv/graft", "dir_info": {}}', "./vendor/graft_asgi-1.2.3-py3-none-any.whl"),
        ('{"url": "file:///srv/graft.whl", "archive_info": {}}', "./vendor/graft_asgi-1.2.3-py3-none-any.whl"),
        ('{"url": "https://host/graft.whl", "archive_info": {}}', "graft-asgi @ https://host/graft.whl"),
        (
            '{"url": "https://host/graft.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}',
            "graft-asgi @ git+https://host/graft.git@abc",
        ),
    ],
)
def test_the_requirement_leads_to_this_very_graft(monkeypatch: pytest.MonkeyPatch, told: str | None, line: str) -> None:
    found = SimpleNamespace(
        version="1.2.3", metadata={"Name": "graft-asgi"}, read_text={"direct_url.json": told, "RECORD": "x"}.get
    )
    monkeypatch.setattr(project_files, "distribution", lambda name: found)
    assert requirement()[0] == line


def test_from_a_source_tree_the_requirement_is_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_files, "distribution", lambda name: distribution("there-is-no-such-package"))
    assert requirement() == (f"graft-asgi @ {ROOT.as_uri()}", None)


def test_the_wheel_is_graft_as_it_is_and_pip_takes_it(empty: Project, tmp_path: Path) -> None:
    empty.write("app.py", APP)
    empty.run("init")
    (wheel,) = (empty.folder / "vendor").iterdir()
    assert f"./vendor/{wheel.name}" in (empty.folder / "requirements.txt").read_text().splitlines()
    assert own_wheel.build(distribution(graft.DISTRIBUTION)) == wheel.read_bytes()
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", site, wheel]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for package in own_wheel.PACKAGES:
        here = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*") if "__pycache__" not in path.parts}
        there = {path.relative_to(site) for path in (site / package).rglob("*") if "__pycache__" not in path.parts}
        assert here == there
    entries = distribution(graft.DISTRIBUTION).read_text("entry_points.txt")
    assert (site / f"graft_asgi-{graft.__version__}.dist-info/entry_points.txt").read_text() == entries


@pytest.mark.parametrize(
    "line",
    ["graft", "graft-asgi==1", "graft_asgi", "Graft @ file:///x", "graft[fastapi]", "./vendor/graft_asgi-0.1.0.whl"],
)
def test_a_requirement_that_is_there_stays(empty: Project, line: str) -> None:
    empty.write("app.py", APP)
    empty.write("requirements.txt", f"flask\n{line}\n")
    assert "it names graft" in empty.run("init").stdout
    assert not (empty.folder / "vendor").exists()
    assert "COPY vendor" not in (empty.folder / "deploy/Dockerfile").read_text()


def test_a_requirement_of_another_name_is_none(empty: Project) -> None:
    empty.write("app.py", APP)
    empty.write("requirements.txt", "graft-ui==1\ngraftings\n")
    empty.run("init")
    assert "graft_asgi-" in (empty.folder / "requirements.txt").read_text()


def test_what_graft_makes_is_not_for_git(empty: Project) -> None:
    empty.write("app.py", APP)
    empty.write(".gitignore", "*.pyc")
    empty.run("init")
    lines = (empty.folder / ".gitignore").read_text().splitlines()
    assert lines[0] == "*.pyc"
    assert "/var/" in lines
    subprocess.run(["git", "init", "-q", "."], cwd=empty.folder, check=True)
    (empty.folder / "var").mkdir()
    (empty.folder / "var" / "admin-token").write_text("secret")
    said = subprocess.run(
        ["git", "status", "--short", "-uall"], cwd=empty.folder, capture_output=True, text=True
    ).stdout
    assert "admin-token" not in said
    assert "gateway.py" in said


# On real apps, from reading to serving


def installed(package: str) -> Path:
    """The folder of an installed package, as one has it in a checkout."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        missing(package, "pip install -r requirements-dev.txt")
    return Path(found.submodule_search_locations[0])


def flaskr(folder: Path) -> None:
    shutil.copytree(Path(__file__).with_name("flaskr"), folder, dirs_exist_ok=True)


def httpbin(folder: Path) -> None:
    shutil.copytree(installed("httpbin"), folder / "httpbin")


def bepasty(folder: Path) -> None:
    shutil.copytree(installed("bepasty"), folder / "bepasty")
    (folder / "bepasty.conf").write_text(
        f"SECRET_KEY = '3f1c9b7a5e2d'\nSTORAGE = 'filesystem'\nSTORAGE_FILESYSTEM_DIRECTORY = {str(folder)!r}\n"
        "DEFAULT_PERMISSIONS = 'create,read,list'\n"
    )


def get(url: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.headers["x-served-by"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["x-served-by"], error.read().decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "target", "page", "said"),
    [
        (flaskr, "flaskr:create_app", "/auth/login", "Log In"),
        (httpbin, "httpbin.core:app", "/get?a=b", '"a": "b"'),
        (bepasty, "bepasty.wsgi:application", "/", "bepasty"),
    ],
)
def test_a_project_is_found_examined_and_served(
    tmp_path: Path, make: Callable[[Path], None], target: str, page: str, said: str
) -> None:
    folder, port = tmp_path / "project", free_port()
    folder.mkdir()
    make(folder)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GRAFT_", "PROMETHEUS_"))}
    env = {**clean, "PYTHONPATH": str(ROOT), "BEPASTY_CONFIG": str(folder / "bepasty.conf"), "PORT": str(port)}
    for command in (["init"], ["doctor"]):
        with Process([sys.executable, "-m", "graft", *command], tmp_path / "log", cwd=folder, env=env) as process:
            assert process.wait(60) == 0, process.output()
    assert f"The Flask app is {target}" in (tmp_path / "log").read_text()
    with Process([sys.executable, "gateway.py"], tmp_path / "served", cwd=folder, env=env) as process:
        process.wait_for(lambda: get(f"http://127.0.0.1:{port}/_graft/health")[0] == 200, 30, "health")
        status, side, body = get(f"http://127.0.0.1:{port}{page}")
        assert (status, side) == (200, "legacy")
        assert said in body
        status, side, body = get(f"http://127.0.0.1:{port}/graft-hello")
        assert (status, side, "async side" in body) == (200, "native", True)
