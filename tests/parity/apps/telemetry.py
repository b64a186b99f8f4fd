"""An app with OpenTelemetry's Flask instrumentation; its spans are kept, to be looked at."""

from flask import Flask, jsonify
from opentelemetry import baggage, trace
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("shop")
app = Flask(__name__)
FlaskInstrumentor().instrument_app(app, excluded_urls="spans,health")
VARY = ("net.peer.port", "net.host.port", "http.server_name", "client.port")


@app.get("/")
def index():
    return "shop"


@app.get("/spans")
def told():
    finished = spans.get_finished_spans()
    names = {span.context.span_id: span.name for span in finished}
    rows = [
        {
            "name": span.name,
            "kind": span.kind.name,
            "status": span.status.status_code.name,
            "trace": f"{span.context.trace_id:032x}" if span.parent and span.parent.is_remote else None,
            "parent": names.get(span.parent.span_id, f"{span.parent.span_id:016x}") if span.parent else None,
            "attributes": {name: str(value) for name, value in sorted(span.attributes.items()) if name not in VARY},
            "events": [event.name for event in span.events],
        }
        for span in finished
    ]
    return jsonify(sorted(rows, key=str))


@app.post("/order/<int:number>")
def order(number):
    with tracer.start_as_current_span("stock") as span:
        span.set_attribute("number", number)
    return jsonify(baggage=dict(baggage.get_all())), 201


@app.get("/broken")
def broken():
    raise ZeroDivisionError("broken")


@app.get("/async")
async def in_a_coroutine():
    with tracer.start_as_current_span("inner"):
        return "async"


@app.get("/stream")
def stream():
    def parts():
        with tracer.start_as_current_span("streaming"):
            yield "one"
        yield "two"

    return parts()
