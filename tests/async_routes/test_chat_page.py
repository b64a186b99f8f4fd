"""The chat page as a reader has it, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.async_routes.conftest import OpenClient
from tests.async_routes.test_chat import chat_app, model_server, served
from tests.parts import openai_server, wait_until
from tests.parts.browser import browser, complaints

__all__ = ["model_server"]

QUESTION = "How does json.loads deserialize a document?"


class Page:
    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        driver.get(url)

    def ask(self, question: str) -> None:
        field = self.driver.find_element("css selector", "[name=question]")
        field.send_keys(question)
        self.driver.find_element("css selector", "[data-ask] button").click()

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map(found => found.innerText).filter(Boolean)"
        return list(self.driver.execute_script(script, f".chat {selector}"))

    def until(self, condition: Callable[[], object], what: str) -> None:
        wait_until(condition, 15, what)


def test_a_reader_asks_follows_up_comes_back_and_forgets(engine: OpenClient, tmp_path: Path, app: Flask) -> None:
    with chat_app(engine, tmp_path, app) as (chat, _), served(chat) as client, browser() as driver:
        page = Page(driver, f"{client.base_url}/chat")
        page.ask(QUESTION)
        page.until(lambda: page.texts(".sources a"), "sources")
        assert page.texts(".asked") == [QUESTION]
        assert page.texts(".told")[0].startswith("“")
        page.ask("and in itsdangerous?")
        page.until(
            lambda: len(page.texts(".told")) == 2 and "itsdangerous" in page.texts(".sources")[-1], "a second answer"
        )
        told = page.texts(".told")
        driver.refresh()
        page.until(lambda: page.texts(".told") == told, "the conversation after a reload")
        assert complaints(driver) == []
        driver.find_element("css selector", "[data-forget]").click()
        page.until(lambda: page.texts(".told") == [], "an empty page")
        driver.refresh()
        assert page.texts(".told") == []


def test_text_of_documents_and_readers_is_shown_not_run(engine: OpenClient, tmp_path: Path, app: Flask) -> None:
    with chat_app(engine, tmp_path, app) as (chat, _), served(chat) as client, browser() as driver:
        page = Page(driver, f"{client.base_url}/chat")
        page.ask("<img src=x onerror=alert(1)> poison in hostile?")
        page.until(lambda: page.texts(".sources a"), "sources")
        assert page.texts(".asked") == ["<img src=x onerror=alert(1)> poison in hostile?"]
        assert driver.find_elements("css selector", ".chat img, .chat script:not([src])") == []


class CutOnce:
    """Breaks the first stream after some events, as a bad network does."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.cuts = 0
        self.resumed = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") != "/api/chat/stream":
            return await self.app(scope, receive, send)
        if any(name == b"last-event-id" for name, _ in scope["headers"]):
            self.resumed += 1
            return await self.app(scope, receive, send)
        bodies = 0

        async def cutting(message: Message) -> None:
            nonlocal bodies
            bodies += message["type"] == "http.response.body"
            if bodies == 5:
                self.cuts += 1
                raise OSError("the connection broke")
            await send(message)

        await self.app(scope, receive, cutting)


def test_a_broken_stream_is_taken_up_where_it_broke(
    engine: OpenClient, tmp_path: Path, app: Flask, model_server: str
) -> None:
    settings = {"base_url": f"{model_server}/v1", "model": "scripted", "api_key": SecretStr("sk-1")}
    with chat_app(engine, tmp_path, app, **settings) as (chat, _):
        breaking = CutOnce(chat)
        with served(breaking) as client, browser() as driver:  # type: ignore[arg-type]
            page = Page(driver, f"{client.base_url}/chat")
            page.ask(QUESTION)
            page.until(lambda: breaking.resumed, "the second connection")
            page.until(lambda: page.texts(".told") == [openai_server.ANSWER], "the whole answer")
            assert page.texts(".note") == []
    assert breaking.cuts == 1
