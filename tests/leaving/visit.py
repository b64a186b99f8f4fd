"""Ask an app what stdin lists, and print its answers as JSON: ``python visit.py MODULE``, in the folder of the app.

``asgi`` is one without Graft: there it can't be imported.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from typing import Any

from starlette.testclient import TestClient

OF_THE_REQUEST = {"x-request-id", "x-response-time", "x-served-by", "date", "server", "etag", "last-modified"}
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


def answers(client: Any, asks: list[Any]) -> list[Any]:
    """What differs by nature is left out: times, ids, a cookie's signature. The token of a form, "?", is filled in."""
    found, token = [], "?"
    for method, path, options in asks:
        if "csrf_token" in options.get("data", {}):
            options["data"]["csrf_token"] = token
        answer = client.request(method, path, **options)
        headers = sorted(
            (name, re.sub(r"(session=|Expires=|nonce-)[^;']+", r"\1...", value))
            for name, value in answer.headers.multi_items()
            if name not in OF_THE_REQUEST
        )
        text = re.sub(r"\d{4}-\d\d-\d\d|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "*", answer.text)
        token = next(iter(TOKEN.findall(text)), token)
        text = text.replace(token, "?")
        found.append([method, path, answer.status_code, headers, text])
    return found


if __name__ == "__main__":
    sys.path.insert(0, ".")
    if sys.argv[1] == "asgi":
        sys.modules["graft"] = None  # type: ignore[assignment]
    app = importlib.import_module(sys.argv[1]).app
    same = {"x-request-id": "abc-1"}
    with TestClient(app, headers=same, raise_server_exceptions=False, follow_redirects=False) as opened:
        told = answers(opened, json.load(sys.stdin))
    print(json.dumps(told))
