"""From an ASGI scope to a WSGI environ."""

from __future__ import annotations

import io
import logging
import os
import tempfile
from pathlib import Path
from typing import Any
from wsgiref.validate import check_environ

import pytest

from graft.bridge import environ as environ_module
from graft.bridge.environ import ErrorStream, FileWrapper, build_environ, tell_processes


def scope(path: str = "/", raw_path: str | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": (raw_path or path).encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": ("10.0.0.1", 5000),
        "server": ("127.0.0.1", 8000),
        **changes,
    }


def test_an_environ_is_what_pep_3333_asks_for() -> None:
    environ = build_environ(scope("/a", query_string=b"x=1", headers=[(b"host", b"example.com")]))
    environ["wsgi.input"] = io.BytesIO()
    check_environ(environ)
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("127.0.0.1", "8000")
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("10.0.0.1", "5000")
    assert environ["QUERY_STRING"] == "x=1"
    assert environ["wsgi.multithread"] is True
    assert environ["wsgi.input_terminated"] is True


@pytest.mark.parametrize(
    ("path", "root", "script_name", "path_info"),
    [
        ("/a", "", "", "/a"),
        ("/old/a", "/old", "/old", "/a"),
        ("/old", "/old", "/old", ""),
        ("/old/", "/old/", "/old", "/"),
        ("/older/a", "/old", "/old", "/older/a"),  # a server that leaves the prefix out of the path
        ("/é/a", "/é", "/\xc3\xa9", "/a"),
    ],
)
def test_a_mount_prefix_goes_to_script_name_at_a_boundary(
    path: str, root: str, script_name: str, path_info: str
) -> None:
    environ = build_environ(scope(path, root_path=root))
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)


def test_script_name_in_the_process_environment_does_not_override_the_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIPT_NAME", "/elsewhere")
    assert build_environ(scope("/old/a", root_path="/old"))["SCRIPT_NAME"] == "/old"


@pytest.mark.parametrize(
    ("raw", "path", "path_info"),
    [
        ("/a%2Fb", "/a/b", "/a/b"),
        ("/caf%C3%A9", "/café", "/caf\xc3\xa9"),
        ("/%FF", "/\ufffd", "/\xff"),
        ("/a%20b", "/a b", "/a b"),
        ("/old%20path", "/rewritten", "/rewritten"),
    ],
)
def test_the_path_is_decoded_without_loss(raw: str, path: str, path_info: str) -> None:
    assert build_environ(scope(path, raw))["PATH_INFO"] == path_info


def test_the_target_is_kept_as_it_was_sent() -> None:
    environ = build_environ(scope("/old/a/b", "/old/a%2Fb", root_path="/old", query_string=b"q=%20&q="))
    assert environ["REQUEST_URI"] == environ["RAW_URI"] == "/old/a%2Fb?q=%20&q="


def test_without_a_raw_path_the_target_is_quoted_from_the_path() -> None:
    assert build_environ({**scope("/é b"), "raw_path": None})["REQUEST_URI"] == "/%C3%A9%20b"


def test_a_query_in_the_raw_path_is_not_doubled() -> None:
    environ = build_environ(scope("/a", "/a?x=1", query_string=b"x=1"))
    assert (environ["PATH_INFO"], environ["REQUEST_URI"]) == ("/a", "/a?x=1")


def test_bytes_beyond_ascii_in_a_query_survive() -> None:
    assert build_environ(scope(query_string=b"q=\xff"))["QUERY_STRING"] == "q=\xff"


def headers(*pairs: tuple[bytes, bytes]) -> dict[str, Any]:
    return build_environ(scope(headers=list(pairs)))


def test_repeated_headers_are_joined_and_cookies_with_a_semicolon() -> None:
    environ = headers((b"x-a", b"1"), (b"cookie", b"a=1"), (b"x-a", b"2"), (b"cookie", b"b=2"))
    assert environ["HTTP_X_A"] == "1,2"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"


def test_a_header_with_an_underscore_is_dropped_and_can_not_pose_as_another() -> None:
    environ = headers(
        (b"x_forwarded_for", b"6.6.6.6"), (b"x_forwarded_for", b"7.7.7.7"), (b"x-forwarded-for", b"1.1.1.1")
    )
    assert environ["HTTP_X_FORWARDED_FOR"] == "1.1.1.1"
    assert not [value for value in environ.values() if value in ("6.6.6.6", "7.7.7.7")]


def test_content_headers_have_no_http_prefix_and_come_once() -> None:
    environ = headers((b"content-type", b"text/plain"), (b"content-type", b"text/html"), (b"content-length", b"3"))
    assert environ["CONTENT_TYPE"] == "text/plain"
    assert environ["CONTENT_LENGTH"] == "3"
    assert "HTTP_CONTENT_TYPE" not in environ


def test_a_header_value_beyond_ascii_is_latin_1() -> None:
    assert headers((b"x-a", b"\xe9"))["HTTP_X_A"] == "\xe9"


def test_strangers_header_names_do_not_fill_the_memory() -> None:
    for number in range(environ_module.KNOWN_NAMES + 100):
        name = f"x-made-up-{number}"
        assert headers((name.encode(), b"1"))[f"HTTP_X_MADE_UP_{number}"] == "1"
    assert len(environ_module._KEYS) <= environ_module.KNOWN_NAMES


def test_an_ipv6_peer_keeps_its_address() -> None:
    environ = build_environ(scope(client=("::1", 40000), server=("::1", 8000)))
    assert (environ["REMOTE_ADDR"], environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("::1", "::1", "8000")


@pytest.mark.parametrize("server", [("/run/app.sock", None), None])
@pytest.mark.parametrize(
    ("host", "scheme", "expected"),
    [
        (b"example.com", "http", ("example.com", "80")),
        (b"example.com", "https", ("example.com", "443")),
        (b"example.com:8443", "https", ("example.com", "8443")),
        (b"[::1]:81", "http", ("::1", "81")),
        (b"[::1]", "http", ("::1", "80")),
        (b"", "http", ("localhost", "80")),
    ],
)
def test_a_unix_socket_takes_its_name_from_the_host_header(
    server: Any, host: bytes, scheme: str, expected: tuple[str, str]
) -> None:
    environ = build_environ(scope(server=server, client=None, scheme=scheme, headers=[(b"host", host)]))
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == expected
    assert environ["REMOTE_ADDR"] == ""
    environ["wsgi.input"] = io.BytesIO()
    check_environ(environ)


def test_an_unusual_http_version_is_named() -> None:
    assert build_environ(scope(http_version="0.9"))["SERVER_PROTOCOL"] == "HTTP/0.9"


def test_what_is_written_to_wsgi_errors_becomes_log_records(caplog: pytest.LogCaptureFixture) -> None:
    errors = ErrorStream()
    print("one", "two", file=errors)
    errors.writelines(["first\n", "half"])
    errors.flush()
    errors.flush()
    assert [record.getMessage() for record in caplog.records] == ["one two", "first", "half"]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
    assert not errors.isatty()


def test_a_log_handler_that_writes_to_wsgi_errors_does_not_go_round_for_ever(
    capfd: pytest.CaptureFixture[str],
) -> None:
    errors = ErrorStream()
    handler = logging.StreamHandler(errors)  # type: ignore[arg-type]
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        errors.write("once\n")
    finally:
        root.removeHandler(handler)
    assert capfd.readouterr().err.count("once") >= 1


def test_a_regular_file_goes_in_big_blocks(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1_000_000)
    with path.open("rb") as file:
        wrapper = FileWrapper(file, 10)
        assert wrapper.seekable()
        wrapper.seek(500_000)
        assert wrapper.tell() == 500_000
        assert sum(map(len, wrapper)) == 500_000
        wrapper.close()
        assert file.closed


def test_what_is_no_regular_file_goes_in_the_blocks_that_were_asked_for() -> None:
    assert list(FileWrapper(io.BytesIO(b"abcdef"), 4)) == [b"abcd", b"ef"]


def test_a_pipe_is_not_read_ahead() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"now")
    with os.fdopen(reader, "rb", buffering=0) as file, os.fdopen(writer, "wb"):
        assert next(FileWrapper(file, 8192)) == b"now"


def test_a_file_like_thing_with_nothing_but_read_will_do() -> None:
    class Readable:
        def read(self, size: int) -> bytes:
            return b""

    wrapper = FileWrapper(Readable())
    assert list(wrapper) == []
    assert not wrapper.seekable()
    assert wrapper.tell() is None
    wrapper.close()
    with tempfile.TemporaryFile() as file:
        assert list(FileWrapper(file)) == []


def test_the_app_is_told_whether_other_workers_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(environ_module._SAME, "wsgi.multiprocess", None)  # put back behind the test
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    told = []
    for workers in (1, 4):
        tell_processes(workers)
        told.append(build_environ(scope)["wsgi.multiprocess"])
    assert told == [False, True]
