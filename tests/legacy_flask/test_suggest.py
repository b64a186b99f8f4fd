from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from elasticsearch import AsyncElasticsearch

from legacy_flask.blueprints import suggest
from tests.legacy_flask.portal import Browser


class Server(BaseHTTPRequestHandler):
    """Answers as Elasticsearch would, and closes: a kept connection would outlive the loop it belongs to."""

    status: ClassVar[int] = 200
    answer: ClassVar[dict[str, Any]] = {}

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(self.answer).encode()
        self.send_response(self.status)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Type", "application/vnd.elasticsearch+json;compatible-with=8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    client = use_client(monkeypatch, running.server_address[1])
    yield Server
    asyncio.run(client.close())
    running.shutdown()
    thread.join()
    running.server_close()


def use_client(monkeypatch: pytest.MonkeyPatch, port: int) -> AsyncElasticsearch:
    client = AsyncElasticsearch(f"http://127.0.0.1:{port}", max_retries=0)
    monkeypatch.setattr(suggest, "client", client)
    return client


def test_suggestions_come_from_the_server(browser: Browser, server: type[Server]) -> None:
    server.status, server.answer = 200, {"hits": {"hits": [{"_id": "7", "_source": {"title": "t", "kind": "class"}}]}}
    assert browser.get("/api/suggest?q=%20wait%20").get_json() == {
        "query": "wait",
        "available": True,
        "suggestions": [{"id": 7, "title": "t", "kind": "class"}],
    }


def test_a_server_that_refuses_leaves_no_suggestions(browser: Browser, server: type[Server]) -> None:
    server.status, server.answer = 404, {"error": {"type": "index_not_found_exception"}, "status": 404}
    assert browser.get("/api/suggest?q=wait").get_json() == {"query": "wait", "available": False, "suggestions": []}


def test_without_a_server_there_are_no_suggestions(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = use_client(monkeypatch, taken.getsockname()[1])
        assert browser.get("/api/suggest?q=wait").get_json()["available"] is False
    asyncio.run(client.close())


def test_under_a_stock_server_the_second_request_fails(browser: Browser, server: type[Server]) -> None:
    server.status, server.answer = 200, {"hits": {"hits": []}}
    assert browser.get("/api/suggest?q=wait").status_code == 200
    browser.client.application.testing = True
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        browser.get("/api/suggest?q=wait")


@pytest.mark.parametrize("query", ["", "q=", "q=%20", "q=" + "x" * 201])
def test_a_bad_question_is_a_400(browser: Browser, query: str) -> None:
    answer = browser.get(f"/api/suggest?{query}")
    assert answer.status_code == 400
    assert answer.get_json()["error"]["message"] == "q must have 1 to 200 characters."
