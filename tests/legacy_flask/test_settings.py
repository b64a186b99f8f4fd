from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from legacy_flask import create_app, settings
from tests.legacy_flask.portal import Browser, make_app


def test_the_portal_knows_nothing_of_graft_or_starlette(tmp_path: Path) -> None:
    code = (
        "import sys, legacy_flask; legacy_flask.create_app({'PORTAL_DATA': sys.argv[1]}); "
        "print([n for n in sys.modules if n.split('.')[0] in ('graft', 'starlette', 'a2wsgi', 'async_routes')])"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_workers_that_start_together_share_one_secret_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: settings.kept_secret_key(tmp_path), range(64)))
    assert len(keys) == 1
    assert len(keys.pop()) == 64
    assert [path.name for path in tmp_path.iterdir()] == ["secret-key"]


def test_a_key_that_another_worker_made_meanwhile_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret-key").write_text("of the other")
    monkeypatch.setattr(Path, "exists", lambda path: False)  # as it was when this worker looked
    assert settings.kept_secret_key(tmp_path) == "of the other"
    assert [path.name for path in tmp_path.iterdir()] == ["secret-key"]


def test_processes_that_start_together_share_one_portal(tmp_path: Path) -> None:
    code = "import sys, legacy_flask as l; print(l.create_app({'PORTAL_DATA': sys.argv[1]}).config['SECRET_KEY'])"
    command = [sys.executable, "-c", code, str(tmp_path / "new" / "folder")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate()[0] for process in running}) == 1
    assert {process.returncode for process in running} == {0}


def test_nobody_else_can_read_the_kept_key(tmp_path: Path) -> None:
    make_app(tmp_path, SECRET_KEY=None)
    assert (tmp_path / "secret-key").stat().st_mode & 0o777 == 0o600


def test_a_session_survives_a_restart(data: Path) -> None:
    before = Browser(make_app(data, SECRET_KEY=None))
    before.register()
    cookie = before.client.get_cookie("session")
    assert cookie is not None
    after = Browser(make_app(data, SECRET_KEY=None))
    after.client.set_cookie("session", cookie.value)
    assert "marta" in after.get("/").text


def test_an_emptied_key_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret-key").touch()
    with pytest.raises(settings.DataFolderError, match="secret-key is empty"):
        settings.kept_secret_key(tmp_path)


def test_the_environment_says_where_and_with_which_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_DATA", str(tmp_path / "here"))
    monkeypatch.setenv("PORTAL_SECRET_KEY", "from the environment")
    monkeypatch.setenv("PORTAL_SECURE_COOKIES", "1")
    app = create_app()
    assert app.config["SECRET_KEY"] == "from the environment"
    assert app.config["SESSION_COOKIE_SECURE"] is True
    assert settings.database_path() == tmp_path / "here" / "portal.sqlite3"
    assert settings.database_path().exists()
    assert not (tmp_path / "here" / "secret-key").exists()


def test_a_data_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(settings.DataFolderError, match=r"PORTAL_DATA: can't make .*file/data"):
        make_app(tmp_path / "file" / "data")


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    settings.database_path(tmp_path).write_text("this is no database, " * 100)
    with pytest.raises(settings.DataFolderError, match=r"can't use .*portal\.sqlite3"):
        make_app(tmp_path)
