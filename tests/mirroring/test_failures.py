"""What went wrong in a mirrored run: its first line, where it is kept, and what the log says of it."""

from __future__ import annotations

import io
import json
import logging
import threading
import traceback
from typing import Any

import pytest
from flask import Flask, abort
from starlette.requests import Request

from graft.mirroring import failures
from graft.mirroring.differences.document import Redaction, document_of
from graft.mirroring.failures import failure_of
from graft.mirroring.mirrored import Mirrored
from graft.observe import logs
from graft.settings import Settings
from graft.types import Receive, Scope, Send
from tests.mirroring.test_fence import legacy_board
from tests.mirroring.test_mirror import Desk
from tests.switching.asking import Told, ask, says, until

HERE = "tests/mirroring/test_failures.py"


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    json.loads("{")


def raised(raise_it: Any) -> BaseException:
    try:
        raise_it()
    except Exception as error:
        return error
    raise AssertionError


def test_the_line_has_the_exception_and_the_users_own_frame_behind_those_of_libraries() -> None:
    line, trace = failure_of(raised(lambda: json.loads("{")), 10)
    assert line.startswith("json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: ")
    assert HERE in line
    assert line.endswith("in <lambda>)")
    assert trace.startswith("Traceback")


def test_a_message_of_many_lines_is_one_line_and_nothing_of_it_is_cut() -> None:
    message = "\n".join(["first", "x" * 3000, "last"])

    def fail() -> None:
        raise ValueError(message)

    line = failure_of(raised(fail), 10).line
    assert line.startswith(f"ValueError: first {'x' * 3000} last ({HERE}:")


def test_the_place_of_an_exception_that_a_library_made_of_another_is_that_of_the_other() -> None:
    def fail() -> None:
        raise ValueError("own")

    outer = RuntimeError("of a library")
    outer.__cause__ = raised(fail)
    assert f"RuntimeError: of a library ({HERE}:" in failure_of(outer, 10).line


def test_what_has_no_exception_says_so() -> None:
    assert failure_of(None, 10).line == "The route returned without an answer."
    assert failure_of(TimeoutError(), 2.5).line == "TimeoutError: no answer within 2.5 s"


async def kept_of(native: Any, caplog: pytest.LogCaptureFixture) -> Mirrored:
    async with Desk(native, says({"a": 1})) as desk:
        await ask(desk.board)
        await until(lambda: bool(desk.kept.mirrored))
    [kept] = desk.kept.mirrored
    return kept


async def test_a_native_route_that_raises_is_kept_with_its_line_first(caplog: pytest.LogCaptureFixture) -> None:
    kept = await kept_of(broken, caplog)
    detail = document_of(kept).detail
    assert next(iter(detail)) == "at"
    assert detail["failure"].startswith("native failed: json.decoder.JSONDecodeError: Expecting property name")
    assert f"({HERE}:" in detail["failure"]
    assert detail["failure"].endswith("in broken)")
    assert "Traceback" in detail["native"]["error"]
    [line] = [record for record in caplog.records if record.name == "graft.mirroring.mirror"]
    assert line.levelno == logging.WARNING
    assert line.getMessage().startswith("mirror: GET /thing: the native side failed: json.decoder.JSONDecodeError: ")


async def test_by_its_shape_a_failure_is_kept_without_what_it_says(caplog: pytest.LogCaptureFixture) -> None:
    kept = await kept_of(broken, caplog)
    failure = document_of(kept, Redaction(shape=True)).detail["failure"]
    assert failure.startswith(f"native failed: json.decoder.JSONDecodeError ({HERE}:")
    assert "Expecting" not in failure


async def test_a_secret_in_an_exception_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: Request) -> None:
        raise ValueError("no such user: ada@example.org")

    kept = await kept_of(Told(1, before=fail), caplog)
    assert "ada@example.org" not in json.dumps(document_of(kept).detail)


async def test_a_legacy_view_that_raises_is_kept_with_its_line_and_logged_as_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Flask("an_app_of_test_failures")

    @app.get("/thing")
    def thing() -> str:
        raise ValueError("no such article, 100 %")

    async with legacy_board(app, says(1)) as (desk, board):
        await ask(board)
        await until(lambda: bool(desk.kept.mirrored))
    [kept] = desk.kept.mirrored
    assert kept.legacy.status == 500
    failure = str(document_of(kept).detail["failure"])
    assert failure.startswith(f"legacy failed: ValueError: no such article, 100 % ({HERE}:")
    [record] = [record for record in caplog.records if record.levelno > logging.INFO]
    assert (record.name, record.levelname, record.exc_info) == ("an_app_of_test_failures", "WARNING", None)
    assert record.getMessage().startswith("mirror: Exception on /thing [GET]: ValueError: no such article, 100 % (")
    assert caplog.text.count("\n") == 1, "no traceback: it is in what is kept"


async def test_a_secret_in_an_exception_is_not_logged_by_the_app_for_a_mirrored_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Flask("a_third_app_of_test_failures")

    @app.get("/thing")
    def thing() -> str:
        raise ValueError("no user with password=cornflower-5, ada@example.org")

    async with legacy_board(app, says(1)) as (desk, board):
        await ask(board)
        await until(lambda: bool(desk.kept.mirrored))
    assert "mirror: Exception on /thing [GET]: ValueError: no user with password=[redacted:" in caplog.text
    assert "cornflower" not in caplog.text
    assert "ada@" not in caplog.text


async def test_what_the_fence_refuses_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = Flask("a_fourth_app_of_test_failures")

    @app.get("/thing")
    def thing() -> str:
        threading.Thread(target=print).start()
        return "not reached"

    async with legacy_board(app, says(1)) as (desk, board):
        await ask(board)
        await until(lambda: bool(desk.kept.mirrored))
    assert desk.kept.mirrored[0].note == "not comparable: legacy tried to start a thread for print"
    assert [record.getMessage() for record in caplog.records if "thing" in record.getMessage()] == [
        "mirror: GET /thing is not comparable: legacy tried to start a thread for print"
    ]


async def test_an_error_that_the_app_answers_on_purpose_is_no_failure() -> None:
    app = Flask("another_app_of_test_failures")

    @app.get("/thing")
    def thing() -> str:
        abort(404)

    async with legacy_board(app, says(1)) as (desk, board):
        await ask(board)
        await until(lambda: bool(desk.kept.mirrored))
    assert desk.kept.mirrored[0].legacy.failure is None


async def test_the_apps_own_lines_of_a_mirrored_run_say_so_in_its_own_handlers() -> None:
    stream = io.StringIO()
    handler, errors = logging.StreamHandler(stream), logging.StreamHandler(io.StringIO())
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    errors.setLevel(logging.ERROR)
    logger = logging.getLogger("handlers.of.test_failures")
    logger.propagate = False
    logger.handlers = [handler, errors]

    async def log(request: Request) -> None:
        logger.critical("%s is gone", "the shop")
        logger.warning({"not": "a text"})
        logger.getChild("child").error("below")

    async with Desk(Told(1, before=log), Told(1, before=log)) as desk:
        await ask(desk.board)
        await desk.until("matched")
    assert stream.getvalue().splitlines() == [
        "CRITICAL the shop is gone",
        "WARNING {'not': 'a text'}",
        "ERROR below",
        "WARNING mirror: the shop is gone",
        "WARNING {'not': 'a text'}",
        "WARNING mirror: below",
    ]
    assert len(errors.stream.getvalue().splitlines()) == 2, "of the user's request alone"


async def test_lines_in_json_have_a_field_for_it(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings.load(data=tmp_path, log_format="json"))
    logger = logging.getLogger("graft.of.test_failures")

    async def log(request: Request) -> None:
        logger.error("broken")

    async with Desk(Told(1, before=log), Told(1, before=log)) as desk:
        await ask(desk.board)
        await desk.until("matched")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if "broken" in line]
    assert [(line["level"], line["message"], line.get("mirror")) for line in lines] == [
        ("ERROR", "broken", None),
        ("WARNING", "mirror: broken", True),
    ]


async def test_a_record_factory_that_the_app_sets_later_is_kept() -> None:
    before = logging.getLogRecordFactory()

    def factory(*args: Any, **keywords: Any) -> logging.LogRecord:
        record = before(*args, **keywords)
        record.tenant = "acme"
        return record

    seen: list[tuple[str, str]] = []
    logger = logging.getLogger("factory.of.test_failures")
    logger.addFilter(lambda record: not seen.append((record.getMessage(), vars(record)["tenant"])))

    async def log(request: Request) -> None:
        logger.error("broken")

    logging.setLogRecordFactory(factory)
    try:
        async with Desk(Told(1, before=log), says(1)) as desk:
            await ask(desk.board)
            await desk.until("matched")
    finally:
        logging.setLogRecordFactory(before)
    assert seen == [("mirror: broken", "acme")]


def _caught(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as raised:
        return raised


def _raised_meanwhile(error: Exception) -> Exception:
    try:
        try:
            raise KeyError("first")
        except KeyError:
            raise error  # noqa: B904  this is the case
    except Exception as raised:
        return raised


def _noted(error: Exception) -> BaseException:
    error.add_note("a note")
    return _caught(error)


@pytest.mark.parametrize("turn", [1, 2])
def test_a_trace_is_the_one_of_the_traceback_module_however_often_it_was_written(turn: int) -> None:
    for error in (
        _caught(ValueError(f"turn {turn}")),
        _caught(ValueError("more lines\nthan one")),
        _caught(SyntaxError("no", ("a.py", turn, 1, "x = = 1", turn, 3))),
        _noted(ValueError(f"turn {turn}")),
        _caught(ValueError("a"), KeyError(turn)),
        _caught(ValueError("a"), _caught(KeyError(turn))),
        _raised_meanwhile(ValueError(turn)),
        _caught(ExceptionGroup("several", [_caught(ValueError(turn)), OSError()])),  # type: ignore[list-item]
        RuntimeError("never raised"),
    ):
        assert failure_of(error, 10).trace == "".join(traceback.format_exception(error))


def test_what_is_remembered_of_traces_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_MOST_TEXTS", 3)
    for number in range(10):
        code = compile("\n" * number + "raise ValueError(1)", "made_up.py", "exec")
        with pytest.raises(ValueError, match="1") as caught:
            exec(code)
        assert f"line {number + 1}" in failure_of(caught.value, 10).trace
        assert len(failures._texts) <= 3
