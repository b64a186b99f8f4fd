"""A shop that is instrumented with OpenTelemetry, as its documentation says, and keeps sessions' checks in a hook."""

import flask
from opentelemetry import trace
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from tests.parity.sdks.reports import report


class ToFile(SpanExporter):
    def export(self, spans: tuple[ReadableSpan, ...]) -> SpanExportResult:
        for span in spans:
            parent = span.parent.span_id if span.parent else None
            report("span", [span.name, span.kind.name, span.context.trace_id, span.context.span_id, parent])
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ToFile()))
trace.set_tracer_provider(provider)
FlaskInstrumentor().instrument()
app = flask.Flask(__name__)


@app.get("/")
def index():
    return "shop"


@app.get("/articles/<int:number>")
def article(number):
    with trace.get_tracer("shop").start_as_current_span("query"):
        return flask.jsonify(number=number)


@app.get("/list")
def listed():
    return (f"{n}\n" for n in range(3))


@app.get("/broken")
def broken():
    raise ValueError("broken")


@app.get("/switched")
def switched():
    return "legacy"
