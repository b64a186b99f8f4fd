from __future__ import annotations

import io
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.testclient import TestClient

from graft.control.auth import COOKIE
from graft.control.health import Readiness
from graft.control.logins import Logins
from graft.control.routes import control_routes
from graft.control.token import admin_token, kept_token, login_link_deferred, print_login_link
from graft.control.tokens import Tokens
from graft.errors import SettingError
from graft.settings import Settings
from tests.control.app import cookie_value


async def fine(request: Request) -> str | None:
    return None


async def broken(request: Request) -> str | None:
    return "unreachable at http://127.0.0.1:1"


def client(**checks: object) -> TestClient:
    return TestClient(Starlette(routes=[control_routes(Tokens("t0ken"), Logins(Tokens("t0ken"), None), checks)]))  # type: ignore[arg-type]


def test_health_and_readiness_are_open() -> None:
    gateway = client(legacy=fine, search=broken)
    assert gateway.get("/_graft/health").json() == {"status": "ok"}
    response = gateway.get("/_graft/ready")
    assert response.status_code == 503
    assert response.json() == {
        "status": "not ready",
        "parts": {"legacy": "ok", "search": "unreachable at http://127.0.0.1:1"},
    }
    assert client(legacy=fine).get("/_graft/ready").json() == {"status": "ready", "parts": {"legacy": "ok"}}


def test_readiness_remembers_its_answer_for_a_moment() -> None:
    asked = []

    async def count(request: Request) -> str | None:
        asked.append(request)
        return None

    gateway = TestClient(Starlette(routes=[control_routes(Tokens("t"), Logins(Tokens("t"), None), {"part": count})]))
    for _ in range(5):
        gateway.get("/_graft/ready")
    assert len(asked) == 1
    assert Readiness({}) is not None


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic t0ken"}, {"cookie": f"{COOKIE}=t0ken"}],
)
def test_metrics_are_closed_without_the_token(headers: dict[str, str]) -> None:
    response = client().get("/_graft/metrics", headers=headers)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "unauthorized"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer t0ken"},
        {"authorization": "bearer t0ken"},
        {"cookie": f"{COOKIE}={cookie_value('t0ken')}"},
    ],
)
def test_metrics_open_to_the_token_and_parse(headers: dict[str, str]) -> None:
    response = client().get("/_graft/metrics", headers=headers)
    assert response.status_code == 200
    assert "graft_requests" in {family.name for family in text_string_to_metric_families(response.text)}


def test_the_token_is_made_once_kept_private_and_the_same_for_all(tmp_path: Path) -> None:
    path = tmp_path / "var" / "admin-token"
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda _: kept_token(path), range(32)))
    tokens = {token for token, _ in kept}
    assert len(tokens) == 1
    assert [made for _, made in kept].count(True) == 1
    assert len(tokens.pop()) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {file.name for file in path.parent.iterdir()} == {".gitignore", "admin-token"}


def test_a_token_from_the_settings_wins(tmp_path: Path) -> None:
    assert admin_token(Settings.load(admin_token="mine", data=tmp_path)) == "mine"
    assert not list(tmp_path.iterdir())


def test_where_no_token_can_be_kept_the_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="GRAFT_ADMIN_TOKEN: is not set, and none can be kept at"):
        admin_token(Settings.load(data=tmp_path / "file"))
    (tmp_path / "admin-token").write_text("\n")
    with pytest.raises(SettingError, match="is empty"):
        admin_token(Settings.load(data=tmp_path))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    return terminal


def test_a_new_token_is_shown_once_as_a_link_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    settings = Settings.load(data=tmp_path, host="0.0.0.0", port=8080)
    token = admin_token(settings)
    assert terminal.getvalue().count(f"http://127.0.0.1:8080/_graft/#token={token}") == 1
    assert admin_token(settings) == token
    assert terminal.getvalue().count(token) == 1


def test_no_log_ever_has_the_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = admin_token(Settings.load(data=tmp_path, port=8080))
    told = capsys.readouterr().err
    assert "graft open --print shows the dashboard's link" in told
    assert token not in told


def test_a_link_that_was_held_back_is_told_with_the_address_that_holds_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_a_terminal(monkeypatch)
    with login_link_deferred():
        token = admin_token(Settings.load(data=tmp_path, port=8080))
    assert terminal.getvalue() == ""
    for _ in range(2):
        print_login_link(Settings.load(data=tmp_path, port=9000))
    assert terminal.getvalue().count(f"http://127.0.0.1:9000/_graft/#token={token}") == 1


def test_a_port_that_the_server_will_choose_is_not_told_as_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    token = admin_token(Settings.load(data=tmp_path, port=0))
    assert f"(the address below)/_graft/#token={token}" in terminal.getvalue()
