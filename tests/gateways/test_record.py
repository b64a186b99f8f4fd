"""What a gateway says of itself, and who may read and believe it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from graft.gateways import addresses, places, publishing, server
from graft.gateways.publishing import Publication
from graft.gateways.record import GatewayRecord, start_of
from graft.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    return Settings.load(data=tmp_path / "var", switches=tmp_path / "switches.toml", port=8123)


def test_what_is_written_is_read_from_the_data_folder_and_from_the_machine(settings: Settings, tmp_path: Path) -> None:
    publication = Publication(settings)
    publication.write()
    [found] = places.running_in(settings.data)
    assert (found.pid, found.data, found.switches) == (os.getpid(), settings.data, settings.switches)
    assert (found.folder, found.addresses) == (tmp_path, ("http://127.0.0.1:8123",))
    assert found in places.running_here()
    publication.end()
    assert places.records_in(settings.data) == []
    assert found not in places.running_here()
    assert list((tmp_path / "run" / "graft" / "gateways").iterdir()) == []


def test_no_secret_is_in_it(settings: Settings) -> None:
    text = "".join(Publication(settings)._record().text())  # type: ignore[union-attr]
    assert set(json.loads(text)["settings"]) == {
        *("GRAFT_DATA", "GRAFT_SWITCHES", "GRAFT_LEGACY", "GRAFT_NATIVE", "GRAFT_LEGACY_PREFIX")
    }


def test_a_process_that_has_the_number_of_one_that_is_gone_is_not_taken_for_it(settings: Settings) -> None:
    publication = Publication(settings)
    publication.write()
    record = publication._record()
    assert record is not None
    assert record.is_running
    assert not replace(record, started="1").is_running
    assert not replace(record, host="elsewhere").is_running


def test_one_that_was_killed_is_not_running_and_is_swept_up_by_the_next(settings: Settings) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = start_of(child.pid)
    assert started is not None
    record = Publication(settings)._record()
    assert record is not None
    folder = settings.data / places.FOLDER
    folder.mkdir(parents=True)
    dead = replace(record, pid=child.pid, started=started)
    (folder / dead.name).write_text(dead.text())
    link = Path(os.environ["XDG_RUNTIME_DIR"]) / "graft" / places.FOLDER / dead.name
    link.parent.mkdir(parents=True)
    link.symlink_to(folder / dead.name)
    assert [each.pid for each in places.running_in(settings.data)] == [child.pid]
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_of(child.pid) is None  # a zombie has ended
    child.wait()
    assert child.stdin is not None
    child.stdin.close()
    assert places.running_in(settings.data) == []
    publication = Publication(settings)
    publication.write()
    assert [path.name for path in folder.iterdir()] == [record.name]
    assert [path.name for path in link.parent.iterdir()] == [record.name]
    publication.end()


def test_of_a_master_and_the_one_that_replaces_it_the_later_counts(settings: Settings) -> None:
    record = Publication(settings)._record()
    assert record is not None
    older = replace(record, pid=1, started=str(int(float(record.started)) - 500))
    assert places._one_each([record, older]) == [record]
    assert places._one_each([older, record]) == [record]
    other = replace(record, settings={**record.settings, "GRAFT_SWITCHES": "/elsewhere/switches.toml"})
    assert len(places._one_each([record, other])) == 2


def test_a_folder_that_cant_be_written_costs_one_log_line(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.data.write_text("a file")
    publication = Publication(settings)
    publication.write()
    publication.restore()
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "the command line can't find this gateway"
    ]


def test_what_somebody_took_away_is_written_again_and_what_another_worker_wrote_stays(settings: Settings) -> None:
    before, after = Publication(settings), Publication(Settings.load(data=settings.data, port=9000))
    before.write()
    after.write()
    before.restore()
    [found] = places.running_in(settings.data)
    assert found.addresses == ("http://127.0.0.1:9000",)
    (settings.data / places.FOLDER / found.name).unlink()
    after.restore()
    assert places.running_in(settings.data) == [found]
    after.end()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": 1}', '{"pid": "x"}', "\x00", '{"settings": []}'])
def test_what_is_no_record_is_passed_over(settings: Settings, text: str) -> None:
    folder = settings.data / places.FOLDER
    folder.mkdir(parents=True)
    (folder / f"{socket.gethostname()}-1.json").write_text(text)
    assert places.records_in(settings.data) == []
    with pytest.raises(ValueError, match=r"[a-zA-Z]"):
        GatewayRecord.of_text(text)


def test_the_folder_in_tmp_is_believed_only_where_it_is_this_users_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(places, "SYSTEM", tmp_path / "none")
    own = tmp_path / "graft-of-this-user"
    monkeypatch.setattr(places, "temporary", lambda: own)
    assert list(places.links_to_write()) == [own]
    assert own.stat().st_mode & 0o777 == 0o700
    assert own in places.links_to_read()
    own.chmod(0o777)
    assert own not in places.links_to_read()
    own.rmdir()
    own.symlink_to(tmp_path)
    assert own not in places.links_to_read()
    assert list(places.links_to_write()) == []


def test_systemds_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}/a:{tmp_path}/b")
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"{tmp_path}/session")
    assert list(places.links_to_write())[:3] == [tmp_path / "a", tmp_path / "b", tmp_path / "session" / "graft"]


def test_the_next_place_is_taken_where_one_cant_be_written(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "file"))
    publication = Publication(settings)
    publication.write()
    assert [record.pid for record in places.running_here()] == [os.getpid()]
    publication.end()
    assert places.running_here() == []


def test_addresses_are_written_as_a_client_takes_them(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setattr(server, "_addresses", None)
    monkeypatch.setattr(server, "_server", None)
    assert addresses.http_address("::1", 8000) == "http://[::1]:8000"
    assert addresses.http_address("localhost", 443, tls=True) == "https://localhost:443"
    assert server.addresses(Settings.load(port=0)) == ()
    server.serves_at(["unix:/run/graft/graft.sock"], 42)
    assert (server.addresses(settings), server.pid()) == (("unix:/run/graft/graft.sock",), 42)


def test_a_worker_whose_server_is_gone_writes_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing.server, "_server", 2**22 + 1)
    Publication(settings).write()
    assert not (settings.data / places.FOLDER).exists()
