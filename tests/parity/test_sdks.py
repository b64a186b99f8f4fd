"""Apps that watch themselves by an SDK: what it reports of each request, under the gateway and under Gunicorn alone."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from tests.parity.packages import overlay
from tests.parity.servers import gateway, plain

TOKEN = "a-token-for-the-tests-of-sdks-only"
SWITCHES = """
["GET /switched"]
share = 100
mirror = 0
["GET /falls-back"]
share = 100
mirror = 0
["GET /compared"]
share = 100
mirror = 100
"""

Visit = Callable[[httpx.Client], None]
Reports = list[tuple[str, Any]]


def reports(server: Any, app: str, folder: Path, visit: Visit, **env: str) -> Reports:
    """All that the SDK of ``app`` would have sent, up to the server's end: of one visit at ``/``, then of ``visit``."""
    overlay()
    own = {"GRAFT_NATIVE": "tests.parity.sdks.native", "GRAFT_ADMIN_TOKEN": TOKEN, **env}
    settings = {"switches": SWITCHES} if server is gateway else {}
    started = server(f"tests.parity.sdks.{app}:app", folder, own, **settings)
    with started as running, httpx.Client(base_url=running.base_url, timeout=30) as client:
        visit(client)
    lines = (folder / "data" / "reports.jsonl").read_text().splitlines()
    return [
        (kind, content) for kind, content in map(json.loads, lines) if kind == "span" or "/_graft/" not in str(content)
    ]


def asked(*paths: str) -> Visit:
    def visit(client: httpx.Client) -> None:
        for path in paths:
            client.get(path)

    return visit


# Sentry


def of_the_request(event: dict[str, Any]) -> dict[str, Any]:
    """What Sentry shows of the request of an event or a transaction, without what differs from run to run."""
    request = event.get("request", {})
    return {
        "transaction": event.get("transaction"),
        "source": event.get("transaction_info", {}).get("source"),
        "op": event["contexts"]["trace"].get("op"),
        "origin": event["contexts"]["trace"].get("origin"),
        "status": event["contexts"]["trace"].get("status"),
        "response": event["contexts"].get("response"),
        "path": urlsplit(request.get("url", "")).path,
        "method": request.get("method"),
        "query": request.get("query_string"),
        "data": request.get("data"),
        "env": sorted(request.get("env", {})),
        "headers": sorted(name.lower() for name in request.get("headers", {})),
        "spans": [(span["op"], span["description"]) for span in event.get("spans", [])],
        "logger": event.get("logger"),
        "exceptions": [
            (value["type"], value["value"], value["mechanism"]["type"], value["mechanism"]["handled"])
            for value in event.get("exception", {}).get("values", [])
        ],
        "tags": event.get("tags"),
    }


def sent(found: Reports, kind: str) -> list[dict[str, Any]]:
    return [of_the_request(content) for name, content in found if name == kind]


def sessions(found: Reports) -> Counter[str]:
    """How many requests ended in which way, as release health counts them."""
    counted: Counter[str] = Counter()
    for name, content in found:
        if name == "sessions":
            for aggregate in content["aggregates"]:
                counted.update({state: count for state, count in aggregate.items() if state != "started"})
    return counted


def the_visit_of_a_shop(client: httpx.Client) -> None:
    for path in ("/articles/7?q=1", "/list", "/missing", "/logged", "/nowhere"):
        client.get(path)
    assert client.post("/orders", json={"amount": 1}).status_code == 201
    assert client.post("/orders", json={"amount": -1}).status_code == 500


def streamed(found: Reports) -> list[dict[str, Any]]:
    """The spans of an SDK that sends each as it ends, without what differs from run to run."""
    spans = [span for name, content in found if name == "span" for span in content["items"]]
    return [
        {
            "name": span["name"],
            "is_segment": span["is_segment"],
            "status": span["status"],
            **{name: value["value"] for name, value in span["attributes"].items() if name in SEEN_OF_A_SPAN},
        }
        for span in spans
    ]


SEEN_OF_A_SPAN = {
    "http.request.method",
    "http.response.status_code",
    "http.route",
    "sentry.op",
    "sentry.origin",
    "sentry.segment.name",
}


@pytest.mark.slow
def test_spans_that_sentry_streams_are_those_under_gunicorn(tmp_path: Path) -> None:
    visit, env = the_visit_of_a_shop, {"LIFECYCLE": "stream"}
    alone = streamed(reports(plain, "sentry_app", tmp_path / "plain", visit, **env))
    below = streamed(reports(gateway, "sentry_app", tmp_path / "gateway", visit, **env))
    assert [span for span in below if span["name"]] == alone
    assert [span["is_segment"] for span in alone] == [True] * 8
    assert len([span for span in below if not span["name"]]) == 1, "that of /_graft/health, at the start"


@pytest.mark.slow
def test_sentry_gets_of_the_flask_app_what_it_gets_under_gunicorn(tmp_path: Path) -> None:
    alone = reports(plain, "sentry_app", tmp_path / "plain", the_visit_of_a_shop)
    below = reports(gateway, "sentry_app", tmp_path / "gateway", the_visit_of_a_shop)
    assert sent(below, "transaction") == sent(alone, "transaction")
    assert len(sent(below, "transaction")) == 8
    assert sent(below, "event") == sent(alone, "event")
    assert [event["data"] for event in sent(below, "event") if event["exceptions"]] == [{"amount": -1}]
    assert sessions(below)["crashed"] == sessions(alone)["crashed"] == 1
    assert sessions(below).total() == sessions(alone).total() + 1  # that of /_graft/health, at the start


@pytest.mark.slow
def test_sentry_gets_one_transaction_and_one_event_of_a_native_route(tmp_path: Path) -> None:
    def visit(client: httpx.Client) -> None:
        for path in ("/native/3", "/native-broken", "/native-through", "/switched", "/falls-back", "/compared"):
            client.get(path)
        deadline = time.monotonic() + 30
        while row(client, "GET /compared")["compared"] + row(client, "GET /compared")["failed"] == 0:
            assert time.monotonic() < deadline, row(client, "GET /compared")
            time.sleep(0.05)

    found = reports(gateway, "sentry_app", tmp_path / "gateway", visit)
    assert [(event["transaction"], event["origin"]) for event in sent(found, "transaction")] == [
        ("index", "auto.http.flask"),
        ("/native/{number:int}", "auto.http.starlette"),
        ("/native-broken", "auto.http.starlette"),
        ("/native-through", "auto.http.starlette"),
        ("/switched", "auto.http.starlette"),
        ("falls_back", "auto.http.flask"),
        ("/compared", "auto.http.starlette"),
    ]
    events = sent(found, "event")
    assert [(event["path"], event["exceptions"]) for event in events] == [
        ("/native-broken", [("ValueError", "a native fault", "flask", False)]),
        ("/falls-back", [("ValueError", "a native fault", "logging", True)]),
        ("/compared", [("ValueError", "a fault that only the mirror sees", "flask", False)]),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("hooks", [{}, {"HOOKS": "1"}], ids=["without hooks", "behind hooks"])
def test_sentry_gets_one_event_of_a_fallback_and_warnings_with_a_tag_of_mirrored_runs(
    hooks: dict[str, str], tmp_path: Path
) -> None:
    def visit(client: httpx.Client) -> None:
        for path in ("/falls-back", "/compared"):
            client.get(path)
        deadline = time.monotonic() + 30
        while row(client, "GET /compared")["different"] == 0:
            assert time.monotonic() < deadline, row(client, "GET /compared")
            time.sleep(0.05)

    found = reports(gateway, "sentry_app", tmp_path / "gateway", visit, **hooks)
    events = [content for kind, content in found if kind == "event"]
    assert [
        (urlsplit(event["request"]["url"]).path, event["level"], (event.get("tags") or {}).get("graft.mirrored"))
        for event in events
    ] == [("/falls-back", "error", None), ("/compared", "warning", "true")]
    assert [event["exception"]["values"][0]["value"] for event in events] == [
        "a native fault",
        "a fault that only the mirror sees",
    ]
    transactions = [event["transaction"] for event in sent(found, "transaction")]
    assert [name.strip("/") for name in transactions] == ["index", "falls_back", "compared"], "none of a mirrored run"


def row(client: httpx.Client, route: str) -> dict[str, Any]:
    rows = client.get("/_graft/api/routes", headers={"authorization": f"Bearer {TOKEN}"}).json()["routes"]
    [found] = [one for one in rows if one["route"] == route]
    return dict(found)


# OpenTelemetry


@pytest.mark.slow
@pytest.mark.parametrize("graft_traces", [False, True])
def test_opentelemetry_has_one_server_span_for_each_request(graft_traces: bool, tmp_path: Path) -> None:
    visit = asked("/articles/7", "/list", "/broken", "/switched", "/native/3")
    env = {"OTEL_TRACES_EXPORTER": "console"} if graft_traces else {}
    found = [content for _, content in reports(gateway, "opentelemetry_app", tmp_path / "gateway", visit, **env)]
    servers = [name for name, kind, *_ in found if kind == "SERVER" and name != "ANY /_graft"]
    if graft_traces:  # Flask's spans are below Graft's
        routes = ["/", "/articles/{number:int}", "/list", "/broken", "/switched", "/native/{number:int}"]
        ids = {span: trace for _, _, trace, span, _ in found}
        assert all(ids[parent] == trace for _, kind, trace, _, parent in found if kind == "INTERNAL")
    else:
        routes = ["/", "/articles/<int:number>", "/list", "/broken", "/switched"]
    assert servers == [f"GET {route}" for route in routes]


# prometheus-flask-exporter


@pytest.mark.slow
def test_prometheus_flask_exporter_counts_each_request_once(tmp_path: Path) -> None:
    overlay()
    started = gateway("tests.parity.sdks.prometheus_app:app", tmp_path / "gateway", {})
    with started as running, httpx.Client(base_url=running.base_url, timeout=30) as client:
        for path in ("/articles/7", "/articles/8", "/broken", "/nowhere"):
            client.get(path)
        metrics = client.get("/metrics").text
        own = client.get("/_graft/metrics")
    counted = dict(re.findall(r"^flask_http_request_total(\{.*\}) (\S+)$", metrics, re.MULTILINE))
    assert counted == {
        '{method="GET",status="200"}': "3.0",
        '{method="GET",status="500"}': "1.0",
        '{method="GET",status="404"}': "1.0",
    }
    assert "graft_" not in metrics
    assert own.status_code == 401
