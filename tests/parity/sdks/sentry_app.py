"""A shop that reports to Sentry, with all that the SDK switches on by itself."""

import logging
import os

import sentry_sdk
from flask import Flask, abort, jsonify, request
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from tests.parity.sdks.reports import report


class ToFile(Transport):
    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            report(item.type, item.payload.json)


sentry_sdk.init(
    "http://key@127.0.0.1:9/1",
    transport=ToFile,
    traces_sample_rate=1.0,
    release="shop@1",
    trace_lifecycle=os.environ.get("LIFECYCLE", "static"),
)
app = Flask(__name__)


if "HOOKS" in os.environ:

    @app.before_request
    def check():
        request.headers.get("authorization")


@app.get("/")
def index():
    return "shop"


@app.get("/articles/<int:number>")
def article(number):
    return jsonify(number=number)


@app.get("/list")
def listed():
    with sentry_sdk.start_span(op="db", name="select"):
        return (f"{n}\n" for n in range(3))


@app.post("/orders")
def order():
    if request.get_json()["amount"] < 0:
        raise ValueError("a negative amount")
    return "", 201


@app.get("/missing")
def missing():
    abort(404)


@app.get("/logged")
def logged():
    logging.getLogger("shop").error("the shelf is empty")
    return "logged"


@app.get("/switched")
def switched():
    return "legacy"


@app.get("/compared")
def compared():
    raise ValueError("a fault that only the mirror sees")


@app.get("/falls-back")
def falls_back():
    return "legacy"
