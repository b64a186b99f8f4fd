from __future__ import annotations

from pathlib import Path

import pytest

from graft.errors import SettingError
from graft.settings import LegacyLoop, LogFormat, Settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No .env and no setting of this machine."""
    monkeypatch.chdir(tmp_path)
    for field in Settings.model_fields.values():
        monkeypatch.delenv(field.validation_alias.choices[0], raising=False)  # type: ignore[union-attr, arg-type]


def test_the_defaults_are_those_of_the_interface() -> None:
    settings = Settings.load()
    assert (settings.legacy, settings.native) == ("legacy_flask:create_app", "async_routes")
    assert (settings.switches, settings.data) == (Path("switches.toml").absolute(), Path("var").absolute())
    assert (settings.legacy_threads, settings.legacy_queue, settings.legacy_timeout) == (16, 64, None)
    assert (settings.max_body, settings.elasticsearch_url) == (None, ())
    assert (settings.host, settings.port, settings.log_format) == ("127.0.0.1", 8000, LogFormat.CONSOLE)
    assert settings.legacy_loop is LegacyLoop.AUTO
    assert settings.legacy_websockets == 2000


def test_the_environment_wins_over_dotenv_and_overrides_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PORT=1\nGRAFT_LEGACY=shop:app\nGRAFT_DATA=kept\n")
    monkeypatch.setenv("PORT", "2")
    settings = Settings.load(data="elsewhere")
    assert (settings.port, settings.legacy, settings.data) == (2, "shop:app", Path("elsewhere").absolute())


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_LEGACY_TIMEOUT", "")
    assert Settings.load().legacy_timeout is None


def test_hosts_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://a:9200, https://b:9200,")
    assert Settings.load().elasticsearch_url == ("http://a:9200", "https://b:9200")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "eighty", "valid integer"),
        ("PORT", "70000", "65535"),
        ("GRAFT_LEGACY_THREADS", "0", "greater than or equal to 1"),
        ("GRAFT_LEGACY_WEBSOCKETS", "-1", "greater than or equal to 0"),
        ("GRAFT_LEGACY_TIMEOUT", "-1", "greater than 0"),
        ("GRAFT_LEGACY_STUCK", "101", "less than or equal to 100"),
        ("LOG_LEVEL", "loud", "is not one of"),
        ("LOG_FORMAT", "xml", "'console' or 'json'"),
        ("ELASTICSEARCH_URL", "localhost:9200", "has no scheme"),
    ],
)
def test_a_wrong_value_is_named_with_its_setting(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingError) as error:
        Settings.load()
    assert str(error.value).startswith(f"{name}: found {value!r}")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_ADMIN_TOKEN", "hunter2")
    assert "hunter2" not in repr(Settings.load())


def test_allowed_hosts_are_names() -> None:
    settings = Settings.load(allowed_hosts="Docs.Example.org, .example.net,[::1]")
    assert settings.allowed_hosts == ("docs.example.org", ".example.net", "[::1]")
    with pytest.raises(SettingError, match="is no host name"):
        Settings.load(allowed_hosts="https://example.org")
