"""A shop that counts its requests with prometheus-flask-exporter, at /metrics."""

from flask import Flask
from prometheus_flask_exporter import PrometheusMetrics

app = Flask(__name__)
PrometheusMetrics(app)


@app.get("/")
def index():
    return "shop"


@app.get("/articles/<int:number>")
def article(number):
    return str(number)


@app.get("/broken")
def broken():
    raise ValueError("broken")
