from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from graft.observe.access import AccessRecord
from graft.types import Side
from tests.routing.test_frontdoor import gateway


def test_the_access_record_tells_route_side_status_and_id(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "graft.access"):
        gateway().get("/native/7?token=secret", headers={"x-request-id": "r-1"})
    [record] = [vars(record) for record in caplog.records if record.name == "graft.access"]
    told = {name: record[name] for name in ("request_id", "method", "path", "status", "side", "route")}
    assert told == {
        "request_id": "r-1",
        "method": "GET",
        "path": "/native/7",
        "status": 200,
        "side": Side.NATIVE,
        "route": "GET /native/{id:int}",
    }
    assert record["duration_ms"] > 0
    assert "secret" not in record["message"]


@pytest.mark.parametrize(("own", "told"), [(b"app-7", "app-7"), (b"not a sane one", "r-1")])
def test_an_id_that_the_app_has_written_into_its_answer_stays_and_is_in_the_log(
    own: bytes, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "headers": [(b"x-request-id", b"r-1")]}
    with caplog.at_level(logging.INFO, "graft.access"):
        record = AccessRecord(scope, lambda message: None)  # type: ignore[arg-type, return-value]
        headers = [(b"a", b"b"), (b"x-request-id", own), (b"x-served-by", b"nobody")]
        told_headers = record.head({"type": "http.response.start", "status": 200, "headers": headers})["headers"]
        record.close(None)
    assert told_headers == [(b"a", b"b"), (b"x-request-id", own), (b"x-served-by", b"native")]
    [line] = [vars(line) for line in caplog.records if line.name == "graft.access"]
    assert line["request_id"] == told


def test_line_breaks_in_a_path_do_not_make_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "graft.access"):
        gateway().get("/a%0d%0aforged")
    assert "\n" not in next(record.getMessage() for record in caplog.records if record.name == "graft.access")


def test_requests_are_counted_by_route_side_and_status(metric: Callable[..., float]) -> None:
    labels = {"route": "GET /native/{id:int}", "side": "native", "status": "2xx"}
    before = metric("graft_requests_total", **labels)
    client = gateway()
    client.get("/native/1")
    client.get("/native/2")
    assert metric("graft_requests_total", **labels) - before == 2


def test_a_legacy_answer_is_counted_under_the_rule_that_flask_chose(metric: Callable[..., float]) -> None:
    labels = {"route": "GET /{path:path}", "side": "legacy", "status": "2xx"}
    before = metric("graft_requests_total", **labels)
    client = gateway()
    client.get("/anything/at/all")
    client.head("/else")
    assert metric("graft_requests_total", **labels) - before == 2
