from __future__ import annotations

import json
from typing import Any

import pytest

from graft.error_answers import ErrorAnswer, error_response
from graft.observe import requestid
from tests.bridge.wire import Conversation

SHAPE = {"error": {"code": "too_much", "message": "It is <too> much.", "request_id": "id-1"}}


def asked(accept: str, **scope: Any) -> Conversation:
    return Conversation(headers=[("Accept", accept)], state={"request_id": "id-1"}, **scope)


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html;q=0.1, */*", "text/plain", ""])
async def test_a_program_gets_json(accept: str) -> None:
    got = await asked(accept).ask(ErrorAnswer(413, "too_much", "It is <too> much.", {"retry-after": "1"}))
    assert (got.status, json.loads(got.body)) == (413, SHAPE)
    assert got.headers == {
        "content-type": "application/json",
        "content-length": str(len(got.body)),
        "retry-after": "1",
    }


async def test_a_browser_gets_a_page_in_which_nothing_is_markup_but_its_own() -> None:
    got = await asked("text/html,application/xhtml+xml,*/*;q=0.8").ask(ErrorAnswer(413, "c", "It is <too> much."))
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    assert b"<h1>413</h1><p>It is &lt;too&gt; much.</p><p><small>Request id-1</small></p>" in got.body


async def test_head_has_the_length_of_get_and_no_body() -> None:
    got = await asked("*/*", method="HEAD").ask(ErrorAnswer(503, "full", "Full."))
    assert (got.body, got.headers["content-length"] > "0") == (b"", True)


async def test_json_for_programs_names_the_request_that_it_is_made_for() -> None:
    requestid.current.set("id-1")
    response = error_response(413, "It is <too> much.", "too_much", headers={"retry-after": "5"})
    assert json.loads(bytes(response.body)) == SHAPE
    assert response.headers["retry-after"] == "5"
    assert json.loads(bytes(error_response(404, "None.").body))["error"]["code"] == "not_found"
