"""Dash: what its page in the browser sends, in the order in which it does."""

import base64
import json
import re
from typing import Any

import httpx2 as httpx

from tests.parity.visitor import Visitor

UPDATE = "/_dash-update-component"


def _call(output: str, trigger: str, value: Any, **state: Any) -> dict[str, Any]:
    """The body of one callback: ``output`` and ``trigger`` are "id.property"."""
    (output_id, output_property), (trigger_id, trigger_property) = output.split("."), trigger.split(".")
    return {
        "output": output,
        "outputs": {"id": output_id, "property": output_property},
        "inputs": [{"id": trigger_id, "property": trigger_property, "value": value}],
        "changedPropIds": [trigger],
        **state,
    }


def _greeting(name: str) -> dict[str, Any]:
    return _call("greeting.children", "name.value", name, state=[{"id": "name", "property": "id", "value": "name"}])


def page(visitor: Visitor) -> None:
    text = visitor.get("/").text
    for path in ("/_dash-layout", "/_dash-dependencies", "/any/page", "/_favicon.ico", "/_reload-hash"):
        visitor.get(path)
    for script in re.findall(r'src="(/_dash-component-suites/[^"]+)"', text):
        visitor.get(script)
    visitor.get("/_dash-component-suites/dash/none.js")


def callbacks(visitor: Visitor) -> None:
    for name in ("änna", "", "broken"):
        visitor.post(UPDATE, json=_greeting(name), headers={"x-who": "me"})
    visitor.post(UPDATE, json=_call("later.children", "name.n_submit", 3))
    visitor.post(UPDATE, json=_call("none.children", "name.value", 3))
    visitor.post(UPDATE, content=b"{broken", headers={"content-type": "application/json"})
    visitor.get(UPDATE)


def uploads(visitor: Visitor) -> None:
    for size in (10, 300_000, 4_000_000):
        contents = "data:text/plain;base64," + base64.b64encode(b"ab" + b"x" * size + b"yz").decode()
        visitor.post(UPDATE, json=_call("uploaded.children", "upload.contents", contents))


def everybody_at_once(visitor: Visitor) -> None:
    visitor.crowd([("POST", UPDATE, {"json": _greeting(f"n{n}"), "headers": {"x-who": str(n)}}) for n in range(60)])


def in_the_background(visitor: Visitor) -> None:
    body = _call("done.children", "start.n_clicks", 5)
    started = visitor.page(UPDATE, method="POST", json=body)
    told = started.json()
    visitor.told("started", [str(started.status_code), *sorted(told)])
    query = httpx.QueryParams({"cacheKey": told["cacheKey"], "job": told["job"]})
    visitor.poll(
        UPDATE, method="POST", json=body, params=query, until=lambda answer: "5 done" in json.dumps(answer.text)
    )
