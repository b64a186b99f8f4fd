"""OpenTelemetry traces, an optional extra: ``pip install 'graft-asgi[telemetry]'`` brings SDK and exporter.

Switched on by OpenTelemetry's own variables: OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_TRACES_EXPORTER (``otlp``,
``console``, ``none``). A request gets one span, below the ``traceparent`` that came with it. The span is current in
native routes and, as ContextVars cross the mount, in Flask's threads: what an instrumented Flask app, a database or the
Elasticsearch client does (which makes its spans by itself) becomes part of the same trace.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from starlette.middleware import Middleware

from graft.errors import SettingError
from graft.mirroring.fence import mirrored_run
from graft.request_record import KEY, RequestRecord
from graft.types import MIRRORED, ASGIApp, Message, Receive, Scope, Send, path_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

EXPORTER = "OTEL_TRACES_EXPORTER"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def middleware(environ: Mapping[str, str] = os.environ) -> list[Middleware]:
    """What to put before the front door: nothing unless traces are switched on.

    Raises SettingError when they are, but the packages for it are missing.
    """
    exporter = _exporter(environ)
    if exporter is None:
        return []
    return [Middleware(Traces, _tracer(exporter))]


def is_on(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether traces are switched on."""
    return _exporter(environ) is not None


class Traces:
    """Pure ASGI middleware: one span a request, ended with the response."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self.app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope.get("method", "GET")
        with self._tracer.start_as_current_span(
            method, extract(carrier), kind=SpanKind.SERVER, attributes=_attributes(scope)
        ) as span:
            status = 0

            async def send_and_see(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await self.app(scope, receive, send_and_see)
            finally:
                _end(span, scope, status)


class MirroredSpans:
    """A span processor that marks what mirrored work begins."""

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        if mirrored_run() is not None:
            span.set_attribute(MIRRORED, True)

    def _on_ending(self, span: Span) -> None:
        """Asked for by the SDK since 1.32."""

    def on_end(self, span: Any) -> None: ...

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def mark_spans() -> None:
    """Have the spans of mirrored work marked, whoever has set up the SDK. (before each mirrored run)"""
    global _marked
    trace: Any = sys.modules.get("opentelemetry.trace")
    provider: Any = trace.get_tracer_provider() if trace is not None else None
    if provider is not _marked:
        _marked = provider
        if hasattr(provider, "add_span_processor"):
            provider.add_span_processor(MirroredSpans())


_marked: Any = None
"""The provider that has the processor"""


def _attributes(scope: Scope) -> dict[str, Any]:
    """What is known at the start. No query: it may hold what is nobody's business."""
    client = scope.get("client")
    known = {
        "http.request.method": scope.get("method"),
        "url.scheme": scope.get("scheme"),
        "url.path": scope["path"],
        "network.protocol.version": scope.get("http_version"),
        "client.address": client[0] if client else None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _end(span: Span, scope: Scope, status: int) -> None:
    from opentelemetry.trace import StatusCode

    if scope["type"] == "http":
        record: RequestRecord | None = scope.get(KEY)
        route = record.route if record is not None else None
        if route is not None:
            span.update_name(route)
            span.set_attribute("http.route", path_of(route))
        span.set_attribute("graft.side", str(record.side) if record is not None else "")
        span.set_attribute("http.response.status_code", status or 500)
        if not status or status >= 500:
            span.set_status(StatusCode.ERROR)
    request_id = (scope.get("state") or {}).get("request_id")
    if request_id is not None:
        span.set_attribute("graft.request_id", request_id)


def _exporter(environ: Mapping[str, str]) -> str | None:
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    named = environ.get(EXPORTER, "").strip().lower()
    if named == "none":
        return None
    return named or ("otlp" if any(environ.get(name) for name in ENDPOINTS) else None)


def _tracer(exporter: str) -> Tracer:
    setting = f"{EXPORTER}={exporter}"
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        raise SettingError(setting, "opentelemetry-sdk is not installed", "pip install opentelemetry-sdk, or unset it.")
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    # Someone else's provider, as that of ``opentelemetry-instrument``, stays.
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider()  # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES are read by itself
        provider.add_span_processor(BatchSpanProcessor(_make(exporter, setting)))
        trace.set_tracer_provider(provider)
    return trace.get_tracer("graft")


def _make(exporter: str, setting: str) -> Any:
    if exporter == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    if exporter == "otlp":
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError:
            mend = "pip install opentelemetry-exporter-otlp-proto-http."
            raise SettingError(setting, "the exporter is not installed", mend) from None
        return OTLPSpanExporter()
    raise SettingError(EXPORTER, f"found {exporter!r}", "Write otlp, console or none.")
