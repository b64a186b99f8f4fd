from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from graft.mirroring.redact import Redactor
from graft.recordings.exchange import Exchange
from graft.recordings.har import HarFile, RecordingsError, entry, read_recordings, write_recordings
from graft.recordings.redaction import Said, redacted

COOKIE = "eyJ1c2VyX2lkIjoxfQ.aQ3f7A.8pJ5W2o3q0mQ0Jt0mYv5rJxk1bE"
REQUIRED = {"startedDateTime", "time", "request", "response", "cache", "timings"}
OF_REQUEST = {"method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize"}
OF_RESPONSE = {
    "status",
    "statusText",
    "httpVersion",
    "cookies",
    "headers",
    "content",
    "redirectURL",
    "headersSize",
    "bodySize",
}


def said(
    url: str = "http://shop.test/items/3?q=red&page=2",
    *,
    method: str = "GET",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    body: bytes = b"",
    answer: bytes = b'{"id": 3}',
    answer_headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),),
    at: str = "2026-11-28T08:00:00.000+00:00",
) -> Said:
    return Said(method, url, headers, body, 200, answer_headers, answer, at, 1.5, "GET /items/{id:int}")


def kept(found: Said) -> Exchange:
    return redacted(found, Redactor())


def test_what_is_written_is_har_and_is_read_back_as_it_was(tmp_path: Path) -> None:
    exchange = kept(said(headers=((b"accept", b"text/html"),)))
    written = write_recordings(tmp_path / "new" / "a.har", [exchange])
    assert stat.S_IMODE(written.path.stat().st_mode) == 0o600
    [found] = (log := json.loads(written.path.read_text())["log"])["entries"]
    assert log["version"] == "1.2"
    assert log["creator"].keys() == {"name", "version"}
    assert found.keys() >= REQUIRED
    assert found["request"].keys() >= OF_REQUEST
    assert found["response"].keys() >= OF_RESPONSE
    assert found["request"]["queryString"] == [{"name": "q", "value": "red"}, {"name": "page", "value": "2"}]
    assert read_recordings(tmp_path / "new") == [exchange]


def test_a_file_is_whole_after_each_exchange(tmp_path: Path) -> None:
    with HarFile(tmp_path / "a.har") as file:
        assert json.loads(file.path.read_text())["log"]["entries"] == []
        for number in range(3):
            file.add(entry(kept(said(f"http://shop.test/items/{number}"))))
            assert len(json.loads(file.path.read_text())["log"]["entries"]) == number + 1
            assert file.path.stat().st_size == file.size


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.har").write_text("mine")
    with pytest.raises(RecordingsError, match="Name another place"):
        write_recordings(tmp_path / "a.har", [])
    assert (tmp_path / "a.har").read_text() == "mine"


def test_no_secret_is_kept_and_cookies_keep_their_names(tmp_path: Path) -> None:
    exchange = kept(
        said(
            "http://shop.test/reset?token=Zx81kqPw02LmN&next=/a",
            headers=(
                (b"cookie", f"session={COOKIE}; theme=dark".encode()),
                (b"authorization", b"Bearer s3cr3t-value-x"),
            ),
            method="POST",
            body=b'{"password": "hunter2hunter2", "name": "Ada"}',
            answer=b'{"echo": "hunter2hunter2", "name": "Ada"}',
        )
    )
    written = write_recordings(tmp_path / "a.har", [exchange])
    text = written.path.read_text()
    for secret in (COOKIE, "Zx81kqPw02LmN", "s3cr3t-value-x", "hunter2hunter2"):
        assert secret not in text
    assert "session=[redacted:" in text
    assert exchange.unaskable == "a secret was struck from its URL"
    assert {"cookie session", "authorization"} <= set(exchange.struck_headers)
    assert all("[redacted" not in value for _, value in exchange.kept_headers)


def test_long_json_is_kept_whole_for_models() -> None:
    rows = [{"id": number, "title": f"Article {number}"} for number in range(600)]
    exchange = kept(said(answer=json.dumps(rows).encode()))
    assert exchange.answer is not None
    assert json.loads(exchange.answer) == rows


def test_a_body_that_was_cut_is_not_asked_again() -> None:
    form = b"text=" + b"a+word+" * 3000
    exchange = kept(said(method="POST", body=form, headers=((b"content-type", b"application/x-www-form-urlencoded"),)))
    assert exchange.unaskable == "its body was not kept whole"
    upload = ((b"content-type", b"multipart/form-data; boundary=x"),)
    assert kept(said(method="POST", body=b"--x\r\n\r\n1\r\n--x--", headers=upload)).cut


def test_the_same_input_is_read_once_and_in_the_order_in_which_it_was_asked(tmp_path: Path) -> None:
    late, early = said(at="2026-11-28T09:00:00+00:00"), said("http://shop.test/b", at="2026-11-28T07:00:00+00:00")
    write_recordings(tmp_path / "a.har", [kept(late), kept(late)])
    write_recordings(tmp_path / "b.har", [kept(early), kept(late)])
    assert [each.target for each in read_recordings(tmp_path)] == ["/b", "/items/3?q=red&page=2"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"log": 1}'])
def test_what_is_no_har_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.har").write_text(text)
    with pytest.raises(RecordingsError, match=r"a\.har is no HAR file"):
        read_recordings(tmp_path / "a.har")


def test_an_empty_folder_says_how_to_make_recordings(tmp_path: Path) -> None:
    with pytest.raises(RecordingsError, match="graft record"):
        read_recordings(tmp_path)
