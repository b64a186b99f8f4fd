from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graft.mirroring.differences import redaction_of
from graft.mirroring.redact import PROCESS_KEY
from graft.mirroring.redaction_key import redaction_key
from graft.settings import Settings


def test_the_key_is_made_once_for_all_workers_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as workers:
        keys = set(workers.map(redaction_key, [tmp_path / "var"] * 50))
    assert len(keys) == 1
    assert len(keys.pop()) == 32
    assert stat.S_IMODE((tmp_path / "var/redaction-key").stat().st_mode) == 0o600
    assert {path.name for path in (tmp_path / "var").iterdir()} == {".gitignore", "redaction-key"}


def test_where_none_can_be_kept_the_process_has_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "var").write_text("no folder")
    assert redaction_key(tmp_path / "var") == PROCESS_KEY
    assert "No redaction key can be kept" in caplog.text


@pytest.mark.parametrize(("setting", "shape"), [("values", False), ("shape", True)])
def test_the_settings_say_what_is_kept(tmp_path: Path, setting: str, shape: bool) -> None:
    assert redaction_of(Settings.load(data=tmp_path, differences=setting)).shape is shape
