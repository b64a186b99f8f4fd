"""The lines that stand in for LogRecords, and when LogRecords are made all the same."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.mirroring.fences.logs import mark_records
from graft.observe import logs
from graft.observe.access_log import ACCESS_LOG
from graft.observe.line_writer import PIPE_BUF
from graft.settings import LogFormat, Settings
from graft.types import Side
from tests.parts.gateway import PROJECT

USUAL: tuple[Any, ...] = ("r-1", "GET", "/items/7", 200, Side.LEGACY, "GET /items/{id:int}", 0.00123, "127.0.0.1", None)
PATHS = st.text(max_size=40).map("/".__add__)


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    names = ("graft", "graft.access")
    before = {name: vars(logging.getLogger(name)).copy() for name in names}
    kept = {name: (state["handlers"][:], state["filters"][:]) for name, state in before.items()}
    yield
    for name in names:
        vars(logging.getLogger(name)).update(before[name])
        logging.getLogger(name).handlers[:], logging.getLogger(name).filters[:] = kept[name]
    logging.getLogger("graft").manager._clear_cache()  # type: ignore[attr-defined]


def configured(log_format: LogFormat = LogFormat.CONSOLE, **options: Any) -> StringIO:
    """What Graft writes from now on."""
    logs.configure(Settings.load(log_format=log_format, **options))
    output = StringIO()
    (handler,) = logging.getLogger("graft").handlers
    assert isinstance(handler, logs.ServerHandler)
    handler.setStream(output)
    return output


def written(output: StringIO, *record: Any) -> str:
    """The line of one request."""
    output.seek(0)
    output.truncate()
    ACCESS_LOG.write(*record)
    ACCESS_LOG.end()
    return output.getvalue()


class Collecting(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.mark.parametrize("log_format", list(LogFormat))
@given(
    path=PATHS,
    status=st.sampled_from([0, 101, 200, 404, 499, 503]),
    side=st.sampled_from(Side),
    route=PATHS.map("GET ".__add__),
    seconds=st.floats(0, 100_000),
    client=st.none() | st.text(max_size=20),
    user=st.none() | st.text(max_size=20),
    created=st.integers(0, 32_000_000_000).map((125).__mul__),
)
def test_a_line_is_what_the_formatter_makes_of_the_record(
    log_format: LogFormat, path: str, status: int, side: Side, route: str, seconds: float, client: str | None,
    user: str | None, created: int,
) -> None:  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: created / 1000)
        patch.setattr(time, "time_ns", lambda: created * 1_000_000)  # of LogRecord since Python 3.13
        output = configured(log_format)
        record = ("r-1._", "GET", path, status, side, route, seconds, client, user)
        direct = written(output, *record)
        logging.getLogger("graft.access").addFilter(keeps_all := logging.Filter())
        try:
            by_record = written(output, *record)
        finally:
            logging.getLogger("graft.access").removeFilter(keeps_all)
    assert direct == by_record
    assert direct.count("\n") == 1


def test_an_ordinary_line_stands_behind_the_access_records_before_it() -> None:
    output = configured()
    for number in range(3):
        ACCESS_LOG.write("r-1", "GET", f"/{number}", *USUAL[3:])
    logging.getLogger("graft.legacy").error("a view failed")
    assert [line.partition(": ")[2].partition(" 200")[0] for line in output.getvalue().splitlines()] == [
        "GET /0", "GET /1", "GET /2", "a view failed",
    ]  # fmt: skip


def add_handler(collecting: Collecting) -> None:
    logging.getLogger("graft.access").addHandler(collecting)


def add_handler_above(collecting: Collecting) -> None:
    logging.getLogger("graft").addHandler(collecting)


def let_it_propagate_to_the_root(collecting: Collecting) -> None:
    logging.getLogger("graft").propagate = True
    logging.getLogger().addHandler(collecting)


def take_graft_s_place(collecting: Collecting) -> None:
    logging.getLogger("graft").handlers[:] = [collecting]


def let_it_propagate_no_more(collecting: Collecting) -> None:
    logging.getLogger("graft.access").handlers[:] = [collecting]
    logging.getLogger("graft.access").propagate = False


def add_filter(collecting: Collecting) -> None:
    logging.getLogger("graft.access").addFilter(lambda record: collecting.handle(record) or True)


def add_filter_to_grafts_handler(collecting: Collecting) -> None:
    logging.getLogger("graft").handlers[0].addFilter(lambda record: collecting.handle(record) or True)


ASKING = [
    add_handler, add_handler_above, let_it_propagate_to_the_root, take_graft_s_place, let_it_propagate_no_more,
    add_filter, add_filter_to_grafts_handler,
]  # fmt: skip


@pytest.mark.parametrize("ask", ASKING)
def test_whoever_asks_logging_gets_real_records_with_every_field(ask: Callable[[Collecting], None]) -> None:
    configured()
    collecting = Collecting()
    ask(collecting)
    try:
        ACCESS_LOG.write(*USUAL[:-1], "u-1")
    finally:
        logging.getLogger().removeHandler(collecting)
    (record,) = collecting.records
    assert record.getMessage() == "GET /items/7 200 legacy 1.2 ms"
    told = vars(record)
    assert {name: told[name] for name in ("request_id", "method", "path", "status", "side", "route", "client")} == {
        "request_id": "r-1",
        "method": "GET",
        "path": "/items/7",
        "status": 200,
        "side": "legacy",
        "route": "GET /items/{id:int}",
        "client": "127.0.0.1",
    }
    assert (told["duration_ms"], told["user"]) == (1.23, "u-1")


def test_a_filter_that_keeps_a_path_out_keeps_it_out() -> None:
    output = configured()
    logging.getLogger("graft.access").addFilter(lambda record: vars(record)["path"] != "/ping")
    assert written(output, "r-1", "GET", "/ping", *USUAL[3:]) == ""
    assert written(output, "r-1", "GET", "/pong", *USUAL[3:]).endswith("GET /pong 200 legacy 1.2 ms\n")


def test_another_formatter_on_grafts_handler_is_asked() -> None:
    output = configured()
    logging.getLogger("graft").handlers[0].setFormatter(logging.Formatter("%(route)s"))
    assert written(output, *USUAL) == "GET /items/{id:int}\n"


def test_a_factory_of_records_of_the_apps_is_asked() -> None:
    configured()
    made: list[str] = []

    class Own(logging.LogRecord):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self.name)

    logging.setLogRecordFactory(Own)
    try:
        ACCESS_LOG.write(*USUAL)
    finally:
        logging.setLogRecordFactory(logging.LogRecord)
    assert made == ["graft.access"]


def test_what_marks_the_lines_of_mirrored_work_makes_no_record_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    configured(LogFormat.CONSOLE)
    before = logging.getLogRecordFactory()
    mark_records()
    try:
        put: list[object] = []
        monkeypatch.setattr(ACCESS_LOG.lines, "put", lambda entry, size: put.append(entry))
        ACCESS_LOG.write(*USUAL)
    finally:
        logging.setLogRecordFactory(before)
    assert len(put) == 1


@pytest.mark.parametrize("log_format", list(LogFormat))
@pytest.mark.parametrize("path", ["/" + "x" * 60_000, "/" + "\U0001f600" * 9000, "/" + "\\" * 9000])
def test_a_long_path_is_cut_so_that_its_line_is_one_write(log_format: LogFormat, path: str) -> None:
    """Above that, the lines of other workers come in between, and what is behind them would begin a line."""
    output = configured(log_format)
    line = written(output, "r-1", "GET", path, 404, Side.LEGACY, "(no route)", 0.001, "1" * 5000, "u" * 5000)
    assert len(line.encode()) <= PIPE_BUF
    assert "... 404 legacy" in line
    assert line.endswith("\n")


ENDS = {
    "return": "",
    "sys.exit": "sys.exit(1)",
    "an exception": "raise RuntimeError",
    "fork": "os.fork()",
    "a fork that logs": "os.fork() or ACCESS_LOG.write('r-2', 'GET', '/child', *USUAL[3:])",
}
SCRIPT = """
import os, sys
from graft.observe import logs
from graft.observe.access_log import ACCESS_LOG
from graft.settings import Settings
from tests.observe.test_access_log import USUAL
logs.configure(Settings.load())
for number in range(300):
    ACCESS_LOG.write("r-1", "GET", f"/{number}", *USUAL[3:])
"""


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_lost_or_written_twice_at_the_end_of_a_process(end: str) -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT + ENDS[end]], cwd=PROJECT, stderr=subprocess.PIPE, text=True)
    lines = [line.partition("GET /")[2].split()[0] for line in ended.stderr.splitlines() if "GET /" in line]
    if end == "a fork that logs":
        lines.remove("child")
    assert lines == [str(number) for number in range(300)]


def test_a_log_that_nobody_reads_says_afterwards_how_much_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    output = configured(LogFormat.JSON)
    monkeypatch.setattr(ACCESS_LOG.lines, "_limit", 0)
    ACCESS_LOG.write(*USUAL)
    ACCESS_LOG.end()
    assert '"level": "WARNING", "logger": "graft.access", "message": "1 access records are lost: nothing' in (
        output.getvalue()
    )
