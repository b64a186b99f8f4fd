"""Apps that nobody wrote for Graft, served through the gateway and held against the same app served alone."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpbin
import httpx2 as httpx
import pytest

from tests.parts.gateway import PROJECT, serving

HTTPBIN_ALONE = (
    sys.executable,
    "-m",
    "gunicorn",
    "httpbin:app",
    "-k",
    "gthread",
    "--threads",
    "4",
    "-b",
    "127.0.0.1:0",
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Clients of httpbin under Gunicorn alone, and of the same httpbin under the gateway."""
    folder = tmp_path_factory.mktemp("httpbin")
    (folder / "native_of_its_own").mkdir()
    (folder / "native_of_its_own" / "__init__.py").write_text("")
    for name in ("gateway.py", "gunicorn.conf.py"):
        (folder / name).write_text((PROJECT / name).read_text())
    env = {"GRAFT_LEGACY": "httpbin:app", "GRAFT_NATIVE": "native_of_its_own"}
    with ExitStack() as stack:
        alone = stack.enter_context(serving(HTTPBIN_ALONE, folder=folder, log=folder / "alone.log", ready="/get"))
        under = stack.enter_context(
            serving("gunicorn", folder=folder, log=folder / "gateway.log", env=env, ready="/_graft/health")
        )
        clients = [stack.enter_context(httpx.Client(base_url=server.base_url, timeout=30)) for server in (alone, under)]
        yield clients[0], clients[1]


REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    *((method, "/anything/a%20b/%C3%BC?x=1&x=2&y=%2F", {}) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
    ("GET", "/", {}),
    ("HEAD", "/get", {}),
    ("OPTIONS", "/get", {}),
    ("GET", "/get?a=1&a=2&empty=&%E2%82%AC=%F0%9F%98%80", {"headers": {"X-Twice": "1", "X-Under-Score": "kept"}}),
    ("POST", "/get", {}),
    ("GET", "/no-such-page", {}),
    ("POST", "/post", {"data": {"name": "ünï", "list": ["1", "2"]}}),
    ("POST", "/post", {"json": {"deep": [{"a": None}, 1.5, "ü"]}}),
    ("POST", "/post", {"content": b"\x00\xff" * 40_000, "headers": {"content-type": "application/octet-stream"}}),
    ("POST", "/post", {"files": {"file": ("näme.txt", b"content " * 20_000, "text/plain")}, "data": {"more": "x"}}),
    ("PUT", "/put", {"content": b""}),
    ("PATCH", "/patch", {"content": b"{broken"}),
    ("DELETE", "/delete", {"params": {"id": "7"}}),
    *(("GET", f"/status/{status}", {}) for status in (200, 204, 301, 304, 400, 401, 404, 405, 406, 418, 500, 503)),
    ("GET", "/redirect/3", {}),
    ("GET", "/relative-redirect/2", {}),
    ("GET", "/redirect-to?url=%2Fget&status_code=307", {}),
    ("GET", "/cookies/set?a=1&b=2", {}),
    ("GET", "/cookies/delete?a", {"headers": {"cookie": "a=1; b=2"}}),
    ("GET", "/basic-auth/me/secret", {"auth": ("me", "secret")}),
    ("GET", "/basic-auth/me/secret", {"auth": ("me", "wrong")}),
    ("GET", "/hidden-basic-auth/me/secret", {}),
    ("GET", "/bearer", {"headers": {"authorization": "Bearer t"}}),
    ("GET", "/bearer", {}),
    ("GET", "/gzip", {}),
    ("GET", "/deflate", {}),
    ("GET", "/encoding/utf8", {}),
    ("GET", "/html", {}),
    ("GET", "/xml", {}),
    ("GET", "/json", {}),
    ("GET", "/robots.txt", {}),
    ("GET", "/deny", {}),
    ("GET", "/image/png", {}),
    ("GET", "/image", {"headers": {"accept": "image/webp"}}),
    ("GET", "/bytes/5000?seed=1", {}),
    ("GET", "/stream-bytes/5000?seed=1&chunk_size=100", {}),
    ("GET", "/stream/5", {}),
    ("GET", "/range/1000", {}),
    ("GET", "/range/1000", {"headers": {"range": "bytes=100-199"}}),
    ("GET", "/range/1000", {"headers": {"range": "bytes=5000-"}}),
    ("GET", "/drip?numbytes=5&duration=0.2&delay=0", {}),
    ("GET", "/delay/0.1", {}),
    ("GET", "/etag/tag", {"headers": {"if-none-match": "tag"}}),
    ("GET", "/etag/tag", {"headers": {"if-match": "other"}}),
    ("GET", "/cache", {"headers": {"if-modified-since": "Sat, 01 Jan 2000 00:00:00 GMT"}}),
    ("GET", "/cache/60", {}),
    ("GET", "/response-headers?X-One=1&X-Two=2&X-Two=3", {}),
    ("GET", "/links/3/0", {}),
    ("GET", "/base64/SGVsbG8=", {}),
    ("GET", "/headers", {}),
    ("GET", "/user-agent", {}),
    ("GET", "/ip", {}),
    ("GET", "/uuid", {}),
]  # fmt: skip

VARIES = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|127\.0\.0\.1:\d+")
OF_THE_SERVER = {"date", "server", "connection", "keep-alive", "transfer-encoding", "x-request-id", "x-served-by"}


def seen(response: httpx.Response) -> dict[str, Any]:
    """What a client sees, without what the two servers are bound to differ in."""
    headers = sorted(
        (name, ", ".join(sorted(value.split(", "))) if name == "allow" else VARIES.sub("*", value))
        for name, value in response.headers.multi_items()
        if name not in OF_THE_SERVER
        and not (name == "content-length" and "content-encoding" in response.headers)  # the port in it is packed too
        and not (name == "last-modified" or (name == "etag" and len(value) > 20))
    )
    return {"status": response.status_code, "headers": headers, "body": _body(response)}


def _body(response: httpx.Response) -> Any:
    text = VARIES.sub("*", response.text) if response.encoding else response.content
    try:
        told = json.loads(text)
    except ValueError:
        return text
    if isinstance(told, dict) and isinstance(told.get("headers"), dict):
        told["headers"] = {name: value for name, value in told["headers"].items() if name != "Content-Type"}
        told["data"] = _without_boundary(told.get("data"))
    return told


def _without_boundary(data: Any) -> Any:
    return data if not isinstance(data, str) else data[:200]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: f"{request[0]} {request[1]}")
def test_httpbin_answers_through_the_gateway_as_it_does_alone(
    both: tuple[httpx.Client, httpx.Client], request_: tuple[str, str, dict[str, Any]]
) -> None:
    method, path, options = request_
    alone, under = (client.request(method, path, **options) for client in both)
    assert seen(under) == seen(alone)
    assert under.headers["x-served-by"] == "legacy"


def test_a_redirected_client_ends_where_it_does_alone(both: tuple[httpx.Client, httpx.Client]) -> None:
    for path in ("/redirect/3", "/absolute-redirect/2", "/cookies/set?a=1", "/redirect-to?url=%2Fget"):
        alone, under = (client.get(path, follow_redirects=True) for client in both)
        assert under.status_code == alone.status_code == 200
        assert str(under.url).removeprefix(str(both[1].base_url)) == str(alone.url).removeprefix(str(both[0].base_url))


def test_every_rule_of_httpbin_answers(both: tuple[httpx.Client, httpx.Client]) -> None:
    rules = [rule.rule for rule in httpbin.app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    assert len(rules) > 50
    for rule in rules:
        if "delay" in rule or "drip" in rule:
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: FILLED.get(found[1], "1"), rule)
        alone, under = (client.get(path) for client in both)
        assert under.status_code == alone.status_code, path


FILLED = {"value": "SGVsbG8=", "codes": "200", "user": "u", "passwd": "p", "etag": "e", "anything": "x", "offset": "0"}


WSGI_APP = """
def app(environ, start_response):
    if environ["PATH_INFO"] == "/missing":
        start_response("404 Gone Fishing", [("Content-Type", "text/plain")])
        return [b"nothing here"]
    size = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(size)
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Script", environ["SCRIPT_NAME"] or "none")])
    return iter([environ["REQUEST_METHOD"].encode(), b" ", environ["PATH_INFO"].encode("latin-1"), b" ", body])
"""


def test_a_wsgi_app_that_is_no_flask_app_is_served_beside_native_routes(tmp_path: Path) -> None:
    (tmp_path / "plain_wsgi.py").write_text(WSGI_APP)
    (tmp_path / "own_native").mkdir()
    (tmp_path / "own_native" / "__init__.py").write_text("")
    (tmp_path / "own_native" / "hello.py").write_text(
        "from starlette.responses import PlainTextResponse\nfrom starlette.routing import Route\n"
        "async def hello(request): return PlainTextResponse('native')\nroutes = [Route('/hello', hello)]\n"
    )
    (tmp_path / "gateway.py").write_text((PROJECT / "gateway.py").read_text())
    env = {"GRAFT_LEGACY": "plain_wsgi:app", "GRAFT_NATIVE": "own_native", "PYTHONPATH": f"{PROJECT}:{tmp_path}"}
    with serving("uvicorn", folder=tmp_path, log=tmp_path / "log", env=env, ready="/_graft/health") as server:
        client = httpx.Client(base_url=server.base_url)
        posted = client.post("/a%2Fb/ü", content=b"body")
        assert (posted.status_code, posted.text) == (200, "POST /a/b/ü body")
        assert posted.headers["x-script"] == "none"
        assert client.get("/missing").status_code == 404
        assert client.get("/missing").headers["x-served-by"] == "legacy"
        assert client.get("/hello").text == "native"
        client.close()
