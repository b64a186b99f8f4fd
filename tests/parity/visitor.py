"""A browser with a memory: it does what a story tells it, keeps cookies, and writes down every answer."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx

HOST = "portal.example"  # the same for both servers, so that their addresses are in no answer


@dataclass(frozen=True)
class Exchange:
    """``what`` was asked, and the answer."""

    what: str
    response: httpx.Response


class Visitor:
    def __init__(self, base_url: str) -> None:
        self.exchanges: list[Exchange] = []
        headers = {"host": HOST, "user-agent": "parity", "accept-encoding": "identity"}
        self._client = httpx.Client(base_url=base_url, headers=headers, timeout=30)

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask, and remember; redirects are not followed."""
        response = self._client.request(method, path, **options)
        self.exchanges.append(Exchange(f"{method} {path}", response))
        return response

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **options)

    def follow(self, response: httpx.Response) -> httpx.Response:
        """Go where ``response`` leads to."""
        where = urlsplit(response.headers["location"])
        return self.get(f"{where.path}?{where.query}" if where.query else where.path)

    def submit(self, path: str, form: dict[str, Any], *, page: str = "", **options: Any) -> httpx.Response:
        """Open ``page`` (that at ``path``) and send its form to ``path``, with the token that is in it."""
        token = re.search(r'name="(csrf_?\w*token)"[^>]*value="([^"]+)"', self.get(page or path).text)
        return self.post(path, data={**form, **({token[1]: token[2]} if token else {})}, **options)

    def crowd(self, requests: list[tuple[str, str, dict[str, Any]]], at_once: int = 20) -> list[httpx.Response]:
        """Many requests at a time; remembered in the order of ``requests``."""
        with ThreadPoolExecutor(at_once) as threads:
            asked = [
                threads.submit(self._client.request, method, path, **options) for method, path, options in requests
            ]
            responses = [one.result() for one in asked]
        for (method, path, _), response in zip(requests, responses, strict=True):
            self.exchanges.append(Exchange(f"{method} {path} (in a crowd)", response))
        return responses

    def poll(self, path: str, until: Any, **options: Any) -> httpx.Response:
        """Ask until ``until(response)``; the last answer alone is remembered, for the others depend on the clock."""
        method = options.pop("method", "GET")
        for _ in range(600):
            response = self._client.request(method, path, **options)
            if until(response):
                break
            time.sleep(0.05)
        self.exchanges.append(Exchange(f"{method} {path} (at the end)", response))
        return response

    def page(self, path: str, method: str = "GET", **options: Any) -> httpx.Response:
        """Ask without remembering: for answers of which only a part can be compared, with ``told``."""
        return self._client.request(method, path, **options)

    def told(self, what: str, lines: list[str]) -> None:
        """Remember ``lines`` as if they were an answer."""
        text = "\n".join(lines)
        self.exchanges.append(Exchange(what, httpx.Response(200, text=text, headers={"x-served-by": "legacy"})))

    def forget(self, cookie: str) -> None:
        self._client.cookies.delete(cookie)

    def cookie(self, name: str) -> str | None:
        return self._client.cookies.get(name)
