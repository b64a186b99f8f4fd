from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.control.app import gateway, native, table_of


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    app = gateway(table_of([native("/a")], "/a"), tmp_path / "switches.toml")
    return TestClient(app, follow_redirects=False)


def test_the_dashboard_and_its_parts_are_served_with_their_types(client: TestClient) -> None:
    page = client.get("/_graft/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"main.js", "style.css", "icon.svg"} <= set(parts)
    for part in parts:
        assert client.get(f"/_graft/{part}").status_code == 200, part
    script = client.get("/_graft/main.js")
    assert script.headers["content-type"].startswith("text/javascript")
    for imported in re.findall(r'from "\./([^"]+)"', script.text):
        assert client.get(f"/_graft/{imported}").status_code == 200, imported


def test_the_prefix_alone_leads_to_the_dashboard(client: TestClient) -> None:
    response = client.get("/_graft")
    assert response.status_code == 307
    assert response.headers["location"].endswith("/_graft/")


def test_the_page_holds_nothing_inline_and_nothing_from_elsewhere(client: TestClient) -> None:
    policy = client.get("/_graft/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    page = client.get("/_graft/").text
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", page)
    for name in ("", "main.js", "style.css", "api.js"):
        text = client.get(f"/_graft/{name}").text
        assert not re.search(r"""(?:src|href|url\(|from|fetch\()\s*[=("']*\s*(?:https?:)?//""", text), name
        assert "innerHTML" not in text


def test_every_answer_is_sealed(client: TestClient) -> None:
    for path in ("", "health", "api/routes", "nothing.js"):
        headers = client.get(f"/_graft/{path}").headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_a_file_that_is_known_already_is_not_sent_again(client: TestClient) -> None:
    etag = client.get("/_graft/style.css").headers["etag"]
    again = client.get("/_graft/style.css", headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2fauth.py", "__init__.py", "%2e%2e/auth.py", "index.html%00"])
def test_nothing_else_is_served(client: TestClient, name: str) -> None:
    response = client.get(f"/_graft/{name}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"
