"""Webhooks: every change, once a host, signed, in order, and again until it is taken."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from graft.mirroring.redact import Redactor
from graft.operations import webhook as module
from graft.operations.file_state import FileState
from graft.operations.history_file import HistoryFile
from graft.operations.rollback import rollback
from graft.operations.shift import shift
from graft.operations.webhook import Webhook
from graft.operations.webhook_message import secret_bytes, webhook_secret
from graft.settings import Settings
from graft.types import RouteKey

KEY = RouteKey("GET", "/a")
SECRET = b"a secret of thirty-two bytes ..."
DOCS = Path(__file__).resolve().parents[2] / "docs" / "webhook.md"


class Receiver:
    """An address that takes changes; ``answers`` has the status of the next ones, then it is 204."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.url = ""

    @property
    def taken(self) -> list[dict[str, Any]]:
        return [json.loads(body)["data"] for _, body in self.asked]

    @property
    def shares(self) -> list[float]:
        return [each["to"]["share"] for each in self.taken]

    async def take(self, request: web.Request) -> web.Response:
        self.asked.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        return web.Response(status=self.answers.pop(0) if self.answers else 204)


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/{any:.*}", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}/hooks/t0p-secret?key=abc"
    try:
        yield made
    finally:
        await runner.cleanup()


@pytest.fixture
def state(tmp_path: Path) -> FileState:
    return FileState(tmp_path / "switches.toml", tmp_path / "var")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def sender(state: FileState, *urls: str, **options: Any) -> Webhook:
    place = state.path.parent / "var" / "webhook.json"
    return Webhook(urls, SECRET, state, place, Redactor(), every=0.01, **options)


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def settled(state: FileState, *urls: str) -> None:
    """The addresses are known: they hear of what comes from now on."""
    place = state.path.parent / "var" / "webhook.json"
    async with sender(state, *urls).running():
        await until(lambda: place.exists() and len(json.loads(place.read_text())) == len(urls))


async def test_every_change_is_sent_once_in_order_and_signed(state: FileState) -> None:
    shift(state, KEY, 1, by="before")
    async with receiver() as one:
        await settled(state, one.url)
        async with sender(state, one.url).running(), sender(state, one.url).running():
            for share in (2, 3, 4):
                shift(state, KEY, share, by="alice", why="first users")
            await until(lambda: len(one.asked) >= 3)
            rollback(state, KEY, by="bob", why="wrong totals")
            await until(lambda: len(one.asked) >= 4)
    assert one.shares == [2, 3, 4, 0]
    headers, body = one.asked[3]
    told = json.loads(body)
    assert (told["type"], told["timestamp"]) == ("route.changed", told["data"]["at"])
    assert re.fullmatch(r"GET /a: share 4 -> 0, by bob \(rollback on [^)]+\): wrong totals", told["text"])
    assert {"id", "route", "operation", "from", "to", "by", "why", "host", "pid", "at"} == set(told["data"])
    assert headers["webhook-id"] == told["data"]["id"]
    assert headers["user-agent"].startswith("Graft/")
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET, content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


async def test_what_changes_while_no_gateway_runs_is_sent_when_one_does(state: FileState) -> None:
    async with receiver() as one:
        await settled(state, one.url)
        shift(state, KEY, 5, by="alice")
        assert one.asked == []
        async with sender(state, one.url).running():
            await until(lambda: one.shares == [5])
        async with sender(state, one.url).running():
            shift(state, KEY, 6, by="alice")
            await until(lambda: len(one.asked) >= 2)
    assert one.shares == [5, 6]


async def test_what_is_not_taken_is_sent_again_in_order_later_and_later(
    state: FileState, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1e9
    monkeypatch.setattr(module.CHANCE, "uniform", lambda low, high: 1.0)
    async with receiver() as one:
        one.answers = [500, 429, 302, 404]
        await settled(state, one.url)
        async with sender(state, one.url, clock=lambda: now).running():
            shift(state, KEY, 1, by="alice")
            shift(state, KEY, 2, by="alice")
            for wait in (2, 4, 8, 16):
                asked = len(one.asked)
                await until(lambda: len(one.asked) > asked)  # noqa: B023
                now += wait - 0.5
                await asyncio.sleep(0.05)
                assert len(one.asked) == asked + 1
                now += 0.6
            await until(lambda: len(one.asked) == 6)
    assert one.shares == [1, 1, 1, 1, 1, 2]
    assert len({headers["webhook-id"] for headers, _ in one.asked[:5]}) == 1
    [line] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert line == "http://127.0.0.1 does not take changes: it answered 500. They are kept and sent again"
    assert "secret" not in caplog.text


async def test_an_address_that_is_down_keeps_no_other_one_waiting_and_its_secrets_out_of_the_log(
    state: FileState, caplog: pytest.LogCaptureFixture
) -> None:
    async with receiver() as one:
        down = "http://user:t0p-secret@127.0.0.1:9/t0p-secret"
        await settled(state, down, one.url)
        async with sender(state, down, one.url).running():
            shift(state, KEY, 1, by="alice")
            await until(lambda: one.shares == [1])
            await until(lambda: "does not take changes" in caplog.text)
    assert "t0p-secret" not in caplog.text


async def test_what_is_refused_for_good_or_a_day_old_is_given_up_with_a_line(
    state: FileState, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    async with receiver() as one:
        one.answers = [422, 204, 503]
        await settled(state, one.url)
        import time

        async with sender(state, one.url, clock=lambda: time.time() + now[0]).running():
            shift(state, KEY, 1, by="alice")
            shift(state, KEY, 2, by="alice")
            await until(lambda: len(one.asked) == 2)
            now[0] = 90_000
            shift(state, KEY, 3, by="alice")
            await until(lambda: "has not taken the change" in caplog.text)
            shift(state, KEY, 4, by="alice")
            await until(lambda: len(one.asked) == 4)
    assert "refuses the change" in caplog.text


async def test_secrets_in_reasons_are_not_sent(state: FileState) -> None:
    async with receiver() as one:
        await settled(state, one.url)
        async with sender(state, one.url).running():
            shift(
                state, KEY, 1, by="alice", why="see https://x.test/?token=9f8a7c6b5d4e3f2a1b0c password=hunter2hunter2"
            )
            rollback(state, KEY, by="alice", hold="api_key: sk-live-4f9a8b7c6d5e4f3a2b1c0d9e")
            await until(lambda: len(one.asked) == 2)
    for _, body in one.asked:
        for secret in (b"9f8a7c6b5d4e3f2a1b0c", b"hunter2hunter2", b"sk-live-4f9a8b7c6d5e4f3a2b1c0d9e"):
            assert secret not in body


async def test_the_name_of_a_route_is_none_of_the_secrets(state: FileState) -> None:
    key = RouteKey("GET", "/reset/{token}")
    async with receiver() as one:
        await settled(state, one.url)
        async with sender(state, one.url).running():
            shift(state, key, 1, by="alice (admin token)")
            await until(lambda: one.asked)
    told = json.loads(one.asked[0][1])
    assert told["data"]["route"] == str(key)
    assert told["text"].startswith("GET /reset/{token}: share 0 -> 1, by alice (admin token) (shift on ")


async def test_another_worker_goes_on_when_the_one_that_sends_is_gone(state: FileState) -> None:
    leaves = False
    async with receiver() as one:
        await settled(state, one.url)
        async with sender(state, one.url, leaves=lambda: leaves).running(), sender(state, one.url).running():
            shift(state, KEY, 1, by="alice")
            await until(lambda: one.shares == [1])
            leaves = True
            shift(state, KEY, 2, by="alice")
            await until(lambda: len(one.asked) >= 2)
    assert one.shares == [1, 2]


async def test_without_an_address_nothing_is_made(tmp_path: Path, state: FileState) -> None:
    async with module.webhook(Settings.load(data=tmp_path / "var"), state, lambda: False):
        assert not (tmp_path / "var").exists()


def test_the_secret_is_made_once_and_kept_to_its_owner(tmp_path: Path) -> None:
    settings = Settings.load(data=tmp_path / "var", webhook="https://example.org/hook")
    made = webhook_secret(settings)
    assert made.startswith("whsec_")
    assert webhook_secret(settings) == made
    assert len(secret_bytes(made)) == 32
    assert (tmp_path / "var" / "webhook-secret").stat().st_mode & 0o777 == 0o600
    assert webhook_secret(Settings.load(data=tmp_path, webhook_secret="given")) == "given"
    assert secret_bytes("given") == b"given"
    assert secret_bytes("whsec_not base64") == b"whsec_not base64"


async def test_the_page_verifies_what_is_sent(state: FileState) -> None:
    [snippet] = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    page: dict[str, Any] = {}
    exec(snippet, page)
    secret = "whsec_" + base64.b64encode(SECRET).decode()
    async with receiver() as one:
        await settled(state, one.url)
        async with sender(state, one.url).running():
            shift(state, KEY, 1, by="alice")
            await until(lambda: one.asked)
    headers, body = one.asked[0]
    assert page["verified"](secret, headers, body)["data"]["to"]["share"] == 1
    with pytest.raises(ValueError, match="signature"):
        page["verified"](secret, headers, body + b" ")
    with pytest.raises(ValueError, match="old"):
        page["verified"](secret, {**headers, "webhook-timestamp": "1000000000"}, body)


# The history as it is followed


def test_marks_lead_through_a_rotation_and_a_history_that_was_taken_away(
    state: FileState, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = state.newest_mark()
    shift(state, KEY, 1, by="alice")
    [(event, behind)] = state.changes_after(mark, 10)
    assert event.after == {"share": 1.0}
    assert state.changes_after(behind, 10) == []
    monkeypatch.setattr("graft.operations.history_file.LARGEST", 1)
    shift(state, KEY, 2, by="alice")
    assert [event.after["share"] for event, _ in state.changes_after(behind, 10)] == [2]
    assert [event.after["share"] for event, _ in state.changes_after(mark, 10)] == [1, 2]
    shift(state, KEY, 3, by="alice")
    assert [event.after["share"] for event, _ in state.changes_after(behind, 10)] == [2, 3]
    history = state.path.parent / "var" / "history.jsonl"
    history.unlink()
    history.with_name("history.1.jsonl").unlink()
    assert state.changes_after(behind, 10) == []
    shift(state, KEY, 4, by="alice")
    assert [event.after["share"] for event, _ in state.changes_after(behind, 10)] == [4]


def test_the_beginning_of_a_line_is_waited_for(tmp_path: Path) -> None:
    history = HistoryFile(tmp_path / "history.jsonl")
    mark = history.end()
    state = FileState(tmp_path / "switches.toml", tmp_path)
    shift(state, KEY, 1, by="alice")
    whole = history.path.read_bytes()
    history.path.write_bytes(whole + whole[:50])
    assert len(history.after(mark, 10)) == 1
    history.path.write_bytes(whole + whole)
    assert len(history.after(mark, 10)) == 2
