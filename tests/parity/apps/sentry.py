"""A shop that reports to Sentry; what it would send is kept, to be looked at."""

import logging

import sentry_sdk
from flask import Flask, jsonify, request
from sentry_sdk.transport import Transport

sent = []


class Kept(Transport):
    def capture_envelope(self, envelope):
        for item in envelope.items:
            if item.type in ("event", "transaction"):
                sent.append((item.type, item.payload.json))


sentry_sdk.init(dsn="http://key@localhost/1", transport=Kept, traces_sample_rate=1.0, send_default_pii=True)
app = Flask(__name__)
log = logging.getLogger("shop")


@app.get("/")
def index():
    return "shop"


@app.get("/sent")
def told():
    """What was sent of other requests, in order of kind, transaction and message."""
    rows = [
        {
            "kind": kind,
            "transaction": event.get("transaction"),
            "source": event.get("transaction_info"),
            "op": event.get("contexts", {}).get("trace", {}).get("op"),
            "origin": event.get("contexts", {}).get("trace", {}).get("origin"),
            "status": event.get("contexts", {}).get("trace", {}).get("status"),
            "raised": [value["type"] for value in event.get("exception", {}).get("values", [])],
            "message": (event.get("logentry") or {}).get("message"),
            "url": event.get("request", {}).get("url"),
            "query": event.get("request", {}).get("query_string"),
            "data": event.get("request", {}).get("data"),
            "tags": event.get("tags"),
            "spans": [span["op"] for span in event.get("spans", [])],
        }
        for kind, event in list(sent)
        if not (event.get("request") or {}).get("url", "").endswith(("/sent", "/_graft/health"))
    ]
    return jsonify(sorted(rows, key=str))


@app.post("/order/<int:number>")
def order(number):
    sentry_sdk.set_tag("number", number)
    with sentry_sdk.start_span(op="stock", name="look"):
        log.error("Order %s is odd", number)
    return jsonify(got=request.get_json(silent=True)), 201


@app.get("/broken")
def broken():
    raise ZeroDivisionError("broken")


@app.get("/broken-async")
async def broken_async():
    raise KeyError("async")


@app.get("/stream")
def stream():
    def parts():
        yield "one"
        raise RuntimeError("half-way")

    return parts(), {"Content-Length": "99"} if request.args.get("cut") else {}
