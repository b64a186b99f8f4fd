from __future__ import annotations

import sys
from collections.abc import Iterator

import flask
import httpx2 as httpx
import pytest
from flask import Flask
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from embedded_elasticsearch import connect
from graft.bridge.mount import LegacyMount
from graft.errors import SettingError
from graft.observe import telemetry
from graft.observe.telemetry import Traces
from graft.routing.frontdoor import FrontDoor
from tests.mirroring.test_mirror import Desk
from tests.switching.asking import Told, ask

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Traced:
    """A gateway with both sides, and the spans that it made."""

    def __init__(self, folder: object) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        tracer = provider.get_tracer("test")
        legacy = Flask(__name__)

        @legacy.get("/articles/<int:number>")
        def article(number: int) -> str:
            with tracer.start_as_current_span("a query of the Flask app"):
                return f"{number} {flask.request.path}"

        @legacy.get("/broken")
        def broken() -> str:
            raise RuntimeError("broken")

        async def search(request: Request) -> Response:
            async with connect(folder / "search.sqlite3") as client:
                # The client takes the process's tracer; this one is the test's own.
                client._otel.tracer = tracer
                client._otel.enabled = True
                await client.cluster.health()
            return JSONResponse({})

        self.mount = LegacyMount(legacy)
        self.app = Starlette(
            routes=[Route("/search", search), Mount("", app=self.mount)],
            middleware=[Middleware(Traces, tracer), Middleware(FrontDoor, legacy=self.mount)],
        )

    async def get(self, path: str, **headers: str) -> tuple[httpx.Response, dict[str, ReadableSpan]]:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            answer = await client.get(path, headers=headers)
        await self.mount.aclose()
        return answer, {span.name: span for span in self.exporter.get_finished_spans()}


@pytest.fixture
def traced(tmp_path: object) -> Traced:
    return Traced(tmp_path)


async def test_a_trace_goes_through_the_mount_into_flask(traced: Traced) -> None:
    answer, spans = await traced.get("/articles/7?token=secret", traceparent=PARENT)
    outer, inner = spans["GET /articles/{number:int}"], spans["a query of the Flask app"]
    assert answer.text == "7 /articles/7"
    assert f"{outer.context.trace_id:032x}" == PARENT.split("-")[1]
    assert outer.parent is not None
    assert f"{outer.parent.span_id:016x}" == PARENT.split("-")[2]
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    assert dict(outer.attributes or {}) | {
        "http.route": "/articles/{number:int}",
        "http.response.status_code": 200,
        "graft.side": "legacy",
        "graft.request_id": answer.headers["x-request-id"],
    } == dict(outer.attributes or {})
    assert "secret" not in str(outer.attributes)


async def test_a_trace_goes_out_to_elasticsearch(traced: Traced) -> None:
    _, spans = await traced.get("/search")
    outer, call = spans["GET /search"], spans["cluster.health"]
    assert call.parent is not None
    assert call.parent.span_id == outer.context.span_id
    assert (outer.attributes or {})["graft.side"] == "native"


async def test_an_error_is_told_as_one(traced: Traced) -> None:
    _, spans = await traced.get("/broken")
    assert spans["GET /broken"].status.status_code == trace.StatusCode.ERROR
    assert (spans["GET /broken"].attributes or {})["http.response.status_code"] == 500


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"},
    ],
)
def test_nothing_stands_before_the_front_door_unless_it_is_switched_on(environ: dict[str, str]) -> None:
    assert telemetry.middleware(environ) == []


@pytest.fixture
def no_provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """OpenTelemetry keeps one provider a process; a test gets its own."""
    kept = trace._TRACER_PROVIDER
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace._TRACER_PROVIDER_SET_ONCE, "_done", False)
    yield
    made = trace._TRACER_PROVIDER
    if made is not kept and isinstance(made, TracerProvider):
        made.shutdown()


@pytest.mark.parametrize(
    "environ",
    [{"OTEL_TRACES_EXPORTER": "console"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}],
    ids=["console", "otlp"],
)
def test_opentelemetrys_own_variables_switch_it_on(no_provider: None, environ: dict[str, str]) -> None:
    (layer,) = telemetry.middleware(environ)
    assert layer.cls is Traces
    first = trace.get_tracer_provider()
    telemetry.middleware(environ)
    assert trace.get_tracer_provider() is first


def test_an_unknown_exporter_is_one_line_with_the_mend(no_provider: None) -> None:
    with pytest.raises(SettingError, match=r"OTEL_TRACES_EXPORTER: found 'jaeger'\. Write otlp, console or none"):
        telemetry.middleware({"OTEL_TRACES_EXPORTER": "jaeger"})


def test_missing_packages_are_named(no_provider: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingError, match="pip install opentelemetry-exporter-otlp-proto-http"):
        telemetry.middleware({"OTEL_TRACES_EXPORTER": "otlp"})
    monkeypatch.setattr(telemetry, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match="pip install opentelemetry-sdk"):
        telemetry.middleware({"OTEL_TRACES_EXPORTER": "otlp"})


async def test_spans_of_mirrored_work_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(telemetry, "_marked", None)

    async def query(request: Request) -> None:
        with provider.get_tracer("shop").start_as_current_span("query"):
            pass

    async with Desk(Told(1, before=query), Told(1, before=query)) as desk:
        for _ in range(2):
            await ask(desk.board)
        await desk.until("matched", 2)
    marks = [dict(span.attributes or {}).get("graft.mirrored") for span in exporter.get_finished_spans()]
    assert sorted(marks, key=str) == [None, None, True, True]
