"""An app that is watched by prometheus-flask-exporter."""

from flask import Flask, abort, request
from prometheus_flask_exporter import PrometheusMetrics

app = Flask(__name__)
metrics = PrometheusMetrics(app, group_by="endpoint")
metrics.info("app_info", "About the app", version="1.0")


@app.get("/")
@metrics.do_not_track()
def index():
    return "watched"


@app.get("/page/<name>")
@metrics.counter("pages", "By name", labels={"name": lambda: request.view_args["name"]})
def page(name):
    return name if name != "none" else abort(404)


@app.post("/job")
@metrics.gauge("jobs_running", "Now")
@metrics.summary("jobs", "By status", labels={"status": lambda answer: answer.status_code})
def job():
    return "done", 202


@app.get("/broken")
def broken():
    raise RuntimeError("broken")


@app.get("/async")
async def in_a_coroutine():
    return "async"
