"""The chat, with and without a model, over a real server so that clients can leave."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import uvicorn
from elasticsearch import AsyncElasticsearch
from flask import Flask
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.testclient import TestClient

from async_routes.chat.conversations import Conversations, State, Turn
from async_routes.chat.endpoints import Chat
from async_routes.chat.passages import quote
from async_routes.chat.settings import PROJECT, ChatSettings
from async_routes.chat.topics import Topic
from graft.bridge.mount import LegacyMount
from graft.flaskside.legacy import Legacy
from graft.routing.errors import error_handlers
from graft.threads.executor import LegacyExecutor
from tests.async_routes.conftest import OpenClient
from tests.parts import free_port, openai_server, wait_until

QUESTION = "How does json.loads deserialize a document?"


@dataclass
class Event:
    id: str
    name: str
    data: dict[str, Any]


@pytest.fixture(scope="session")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with openai_server.running(tmp_path_factory.mktemp("model")) as url:
        yield url


@contextmanager
def chat_app(
    engine: OpenClient, data: Path, portal: Flask | None = None, **settings: Any
) -> Iterator[tuple[Starlette, Chat]]:
    chat = Chat(ChatSettings(data=data, **settings), keep_alive=1)
    pool = LegacyMount(portal or Flask(__name__)).pool

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with engine() as elasticsearch:
            yield {
                "elasticsearch": elasticsearch,
                "legacy": Legacy(portal, LegacyExecutor(pool)),
                "request_id": "test-request",
            }
            await asyncio.gather(*chat._saving)
            await pool.aclose()

    yield Starlette(routes=chat.routes, lifespan=lifespan, exception_handlers=error_handlers({})), chat


@contextmanager
def served(app: Starlette) -> Iterator[httpx.Client]:
    """A real server in a thread."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, 10, "the server")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def client(engine: OpenClient, tmp_path: Path) -> Iterator[httpx.Client]:
    """Without a model."""
    with chat_app(engine, tmp_path) as (app, _), served(app) as client:
        yield client


@pytest.fixture
def with_model(engine: OpenClient, tmp_path: Path, model_server: str) -> Callable[..., Any]:
    @contextmanager
    def opened(model: str, **settings: Any) -> Iterator[httpx.Client]:
        told = {"base_url": f"{model_server}/v1", "model": model, "api_key": SecretStr("sk-1"), "timeout": 0.5}
        with chat_app(engine, tmp_path, **{**told, **settings}) as (app, _), served(app) as client:
            yield client

    return opened


def ask(client: httpx.Client, question: str = QUESTION, user: str = "ada") -> dict[str, Any]:
    answer = client.post("/api/chat", json={"user_id": user, "question": question})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def stream(
    client: httpx.Client, question: str = QUESTION, *, last: str = "", stop_after: int = 10_000
) -> tuple[list[Event], list[str]]:
    """The events of a stream, of which at most ``stop_after`` are read, and the comments between them."""
    headers = {"Last-Event-ID": last} if last else {}
    events: list[Event] = []
    comments: list[str] = []
    fields: dict[str, str] = {}
    body = {"user_id": "ada", "question": question}
    with client.stream("POST", "/api/chat/stream", json=body, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith(":"):
                comments.append(line)
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                events.append(Event(fields["id"], fields["event"], json.loads(fields["data"])))
                fields = {}
                if len(events) >= stop_after:
                    break
    return events, comments


def seen(url: str) -> Any:
    return httpx.get(f"{url}/seen").json()


def even(text: str) -> str:
    return " ".join(text.split())


# Without a model


async def test_the_answer_quotes_passages_word_by_word_with_their_sources(
    client: httpx.Client, engine: OpenClient
) -> None:
    told = ask(client)
    assert told["mode"] == "extractive"
    assert told["note"] is None
    assert told["sources"]
    async with engine() as elasticsearch:
        for source in told["sources"][:3]:
            article = await elasticsearch.get(index="articles", id=str(source["id"]))
            assert source["quote"] in even(article["_source"]["text"])
            assert f"“{source['quote']}” [{source['number']}]" in told["answer"]
            assert source["url"] == f"/articles/{source['id']}"
    assert told["sources"][0]["package"] == "json"
    assert "eserialize" in told["answer"]


def test_a_follow_up_goes_on_from_the_question_before(client: httpx.Client) -> None:
    ask(client)
    then = ask(client, "and in itsdangerous?")
    assert {source["package"] for source in then["sources"]} == {"itsdangerous"}
    assert "loads" in then["answer"] or "load" in then["answer"]
    again = ask(client, "and in json?")
    assert {source["package"] for source in again["sources"]} == {"json"}
    assert ask(client, "and in itsdangerous?", user="bob")["sources"] != then["sources"]


def test_a_question_that_nothing_answers_says_so(client: httpx.Client) -> None:
    told = ask(client, "Xyzzyplugh quux frobnicate?")
    assert told["sources"] == []
    assert "nothing about that" in told["answer"]
    assert ask(client, "???", user="bob")["sources"] == []


def test_the_conversation_is_kept_listed_and_deleted(engine: OpenClient, tmp_path: Path) -> None:
    with chat_app(engine, tmp_path) as (app, _), served(app) as client:
        first = ask(client)
        stream(client, "What is a task in asyncio?")
    with chat_app(engine, tmp_path) as (app, _), served(app) as client:  # another process, later
        listed = client.get("/api/chat/ada").json()
        assert [turn["question"] for turn in listed["turns"]] == [QUESTION, "What is a task in asyncio?"]
        assert listed["turns"][0] == first
        assert client.get("/api/chat/bob").json() == {"user_id": "bob", "turns": []}
        assert client.delete("/api/chat/ada").json() == {"user_id": "ada", "deleted": 2}
        assert client.get("/api/chat/ada").json()["turns"] == []
        assert client.delete("/api/chat/ada").json()["deleted"] == 0


def test_the_stream_tells_sources_words_and_the_whole_turn(client: httpx.Client) -> None:
    events, _ = stream(client)
    assert events[0].name == "sources"
    assert {event.name for event in events[1:-1]} == {"token"}
    done = events[-1]
    assert done.name == "done"
    assert "".join(event.data["text"] for event in events[1:-1]) == done.data["answer"]
    assert done.data["sources"] == events[0].data["sources"]
    assert [event.id for event in events] == [f"{done.data['id']}:{number}" for number in range(len(events))]
    assert client.get("/api/chat/ada").json()["turns"] == [done.data]


def test_a_stream_is_taken_up_again_behind_the_last_event(client: httpx.Client) -> None:
    whole, _ = stream(client)
    rest, _ = stream(client, last=whole[1].id)
    assert rest == whole[2:]
    assert len(client.get("/api/chat/ada").json()["turns"]) == 1


@pytest.mark.parametrize("last", ["nonsense", "unknown:3", ":", "x:-1", "x:99999999999999"])
def test_an_unknown_last_event_begins_anew(client: httpx.Client, last: str) -> None:
    events, _ = stream(client, last=last)
    assert [events[0].name, events[-1].name] == ["sources", "done"]


def test_a_stream_can_not_be_taken_up_with_another_question(client: httpx.Client) -> None:
    whole, _ = stream(client)
    other, _ = stream(client, "What is a task in asyncio?", last=whole[1].id)
    assert other[-1].data["question"] == "What is a task in asyncio?"
    assert other[-1].data["id"] != whole[-1].data["id"]


# With a model


def test_the_model_is_asked_with_passages_history_and_key(with_model: Callable[..., Any], model_server: str) -> None:
    with with_model("scripted") as client:
        told = ask(client)
        assert told["mode"] == "model"
        assert told["answer"].startswith("The passages say [1]")
        events, _ = stream(client, "and in itsdangerous?")
        assert sum(event.name == "token" for event in events) > 3
        assert events[-1].data["mode"] == "model"
    asked = seen(model_server)["requests"][-1]
    assert asked["authorization"] == "Bearer sk-1"
    roles = [message["role"] for message in asked["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert "[1] " in asked["messages"][0]["content"]
    assert asked["messages"][1]["content"] == QUESTION
    assert asked["messages"][2]["content"] == told["answer"]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("fails", "its server answered 500"),
        ("silent", "it said nothing for 0.5 seconds"),
        ("stalls", "it said nothing for 0.5 seconds"),
        ("cuts", "it was cut off in the middle"),
        ("babbles", "it was cut off in the middle"),
    ],
)
def test_when_the_model_fails_passages_are_quoted_with_a_note(
    with_model: Callable[..., Any], model: str, reason: str
) -> None:
    with with_model(model) as client:
        told = ask(client)
        assert told["mode"] == "extractive"
        assert reason in told["note"]
        assert told["answer"].startswith("“")
        events, _ = stream(client, "What is a task in asyncio?")
        names = [event.name for event in events]
        replaced = names.index("replace")
        assert names[replaced + 1 :] == ["token"] * (len(names) - replaced - 2) + ["done"]
        assert "".join(event.data["text"] for event in events[replaced + 1 : -1]) == events[-1].data["answer"]
        assert reason in events[-1].data["note"]


def test_a_model_that_is_not_there_is_no_wait(with_model: Callable[..., Any]) -> None:
    with with_model("any", base_url=f"http://127.0.0.1:{free_port()}/v1", timeout=10) as client:
        assert "its server can't be reached" in ask(client)["note"]


def test_a_silent_stream_is_kept_alive(with_model: Callable[..., Any]) -> None:
    with with_model("stalls", timeout=2.5) as client:
        _, comments = stream(client)
        assert len(comments) >= 2


@pytest.mark.parametrize("model", ["stalls", "slow"])
def test_a_reader_who_leaves_the_stream_stops_the_model(
    with_model: Callable[..., Any], model_server: str, model: str
) -> None:
    with with_model(model, timeout=30) as client:
        abandoned = seen(model_server)["abandoned"]
        stream(client, stop_after=3)
        wait_until(lambda: seen(model_server)["abandoned"] > abandoned, 5, "the model to be left alone")
        assert client.get("/api/chat/ada").json()["turns"] == []


def test_a_client_that_leaves_before_the_answer_stops_the_model(
    with_model: Callable[..., Any], model_server: str
) -> None:
    with with_model("silent", timeout=30) as client:
        abandoned = seen(model_server)["abandoned"]
        with pytest.raises(httpx.ReadTimeout):
            client.post("/api/chat", json={"user_id": "ada", "question": QUESTION}, timeout=0.5)
        wait_until(lambda: seen(model_server)["abandoned"] > abandoned, 5, "the model to be left alone")


def test_a_stream_of_a_model_goes_on_where_it_was_left(with_model: Callable[..., Any], model_server: str) -> None:
    with with_model("slow", timeout=30) as client:
        begun, _ = stream(client, stop_after=4)
        rest, _ = stream(client, last=begun[-1].id)
    said = "".join(event.data["text"] for event in [*begun, *rest] if event.name == "token")
    assert said == openai_server.ANSWER
    assert rest[-1].name == "done"
    assert rest[-1].data["answer"] == said
    assert rest[0].id.split(":")[0] == begun[0].id.split(":")[0]
    asked = seen(model_server)["requests"][-1]["messages"]
    assert asked[-2]["role"] == "assistant"
    assert said.startswith(asked[-2]["content"])
    assert "where you stopped" in asked[-1]["content"]


# What is no question


BAD: list[tuple[bytes, str]] = [
    (b"", "invalid_json"),
    (b"{", "invalid_json"),
    (b"\xff\xfe", "invalid_json"),
    (b"[" * 20_000, "invalid_json"),
    (b"[]", "invalid_body"),
    (b'"text"', "invalid_body"),
    (b"{}", "missing_field"),
    (b'{"user_id": "ada"}', "missing_field"),
    (b'{"question": "why?"}', "missing_field"),
    (b'{"user_id": "", "question": "why?"}', "empty_field"),
    (b'{"user_id": "ada", "question": " \\n "}', "empty_field"),
    (b'{"user_id": 7, "question": "why?"}', "wrong_type"),
    (b'{"user_id": "ada", "question": ["why?"]}', "wrong_type"),
    (b'{"user_id": "ada", "question": null}', "wrong_type"),
    (b'{"user_id": "ada", "question": "\\ud800"}', "wrong_type"),
    (b'{"user_id": "a\\u0000b", "question": "why?"}', "invalid_user_id"),
    (json.dumps({"user_id": "a" * 129, "question": "why?"}).encode(), "invalid_user_id"),
    (json.dumps({"user_id": "ada", "question": "x" * 2001}).encode(), "question_too_long"),
]


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream"])
@pytest.mark.parametrize(("body", "code"), BAD)
def test_what_is_no_question_is_a_400_in_the_error_shape(tmp_path: Path, path: str, body: bytes, code: str) -> None:
    with chat_app(nowhere, tmp_path) as (app, _), TestClient(app) as client:
        answer = client.post(path, content=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["request_id"] == "test-request"


def test_a_huge_body_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with chat_app(nowhere, tmp_path) as (app, _), TestClient(app) as client:
        answer = client.post("/api/chat", content=b" " * 70_000)
        assert answer.status_code == 413
        assert client.get("/api/chat/" + "x" * 200).status_code == 400


def nowhere() -> AsyncElasticsearch:
    return AsyncElasticsearch("http://127.0.0.1:9", max_retries=0)


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream"])
def test_without_a_search_server_it_is_a_503_in_the_error_shape(tmp_path: Path, path: str) -> None:
    with chat_app(nowhere, tmp_path) as (app, _), TestClient(app) as client:
        answer = client.post(path, json={"user_id": "ada", "question": QUESTION})
        assert answer.status_code == 503
        assert answer.json()["error"]["message"]
        assert client.get("/api/chat/ada").json()["turns"] == []


def test_the_page_looks_like_the_portal_and_brings_its_script(tmp_path: Path, app: Flask) -> None:
    with chat_app(nowhere, tmp_path, app) as (starlette, _), TestClient(starlette) as client:
        page = client.get("/chat")
        assert page.status_code == 200
        assert "Ask the documentation" in page.text
        assert "portal.css" in page.text
        assert "default-src 'self'" in page.headers["content-security-policy"]
        for name in ("chat.js", "chat.css"):
            assert f'="/chat/static/{name}"' in page.text
            assert client.get(f"/chat/static/{name}").status_code == 200


# Pieces


PACKAGES = ("Flask", "starlette", "asyncio")


def test_topics_take_over_what_a_follow_up_leaves_out() -> None:
    first = Topic.of("How do I stream a response in Starlette?", PACKAGES)
    assert first == Topic(("stream", "response"), ("starlette",))
    second = Topic.of("and in Flask?", PACKAGES, first)
    assert second == Topic(("stream", "response"), ("flask",))
    assert Topic.of("What about its headers?", PACKAGES, second) == Topic(("stream", "response", "headers"), ("flask",))
    third = Topic.of("How does asyncio.wait_for cancel?", PACKAGES, second)
    assert third == Topic(("asyncio.wait_for", "cancel"), ("asyncio",))
    assert Topic.of("and in Flask?", PACKAGES, third) == Topic(("wait_for", "cancel"), ("flask",))
    assert Topic.of("Starlette?", PACKAGES).query == "starlette"
    assert Topic.of("?", PACKAGES).query == ""


def test_a_quotation_is_the_sentence_that_says_it() -> None:
    text = "Nothing here.\n\nA streaming response\n  sends chunks. It never ends.\n\nMore of nothing at all."
    assert quote(text, ["stream", "chunks"]) == "A streaming response sends chunks. It never ends."
    assert quote("", ["stream"]) == ""
    assert len(quote("word " * 500, ["word"])) <= 360


async def test_a_follow_up_waits_for_the_turn_that_is_being_saved(tmp_path: Path) -> None:
    one, other = Conversations(tmp_path / "chat.sqlite3"), Conversations(tmp_path / "chat.sqlite3")
    turn = Turn("ada", "why?", Topic())
    await one.open_turn(turn)
    waiting = asyncio.create_task(other.history("ada"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await one.answered(turn)
    assert [found.state for found in await waiting] == [State.ANSWERED]


async def test_a_deleted_conversation_does_not_come_back(tmp_path: Path) -> None:
    conversations = Conversations(tmp_path / "chat.sqlite3")
    turn = Turn("ada", "why?", Topic())
    await conversations.open_turn(turn)
    await conversations.delete("ada")
    await conversations.answered(turn)
    assert await conversations.history("ada") == []


async def test_only_the_newest_turns_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("async_routes.chat.conversations.TURNS_KEPT", 3)
    conversations = Conversations(tmp_path / "chat.sqlite3")
    for number in range(5):
        turn = Turn("ada", str(number), Topic(), at=1e9 + number)
        await conversations.open_turn(turn)
        await conversations.answered(turn)
    assert [turn.question for turn in await conversations.history("ada")] == ["2", "3", "4"]


def test_its_data_stays_in_the_project_where_the_flask_app_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAFT_DATA", "data")
    assert ChatSettings().data == PROJECT / "data"
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path / "data"))
    assert ChatSettings().data == tmp_path / "data"


def test_the_settings_say_when_there_is_a_model() -> None:
    assert not ChatSettings().has_model
    assert not ChatSettings(model="m").has_model
    assert not ChatSettings(base_url="http://localhost/v1").has_model
    assert ChatSettings(model="m", base_url="http://localhost/v1").has_model
    assert ChatSettings(model="m", api_key=SecretStr("k")).has_model
