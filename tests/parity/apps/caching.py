"""A report that is costly to make: Flask-Caching over views, functions and fragments."""

import itertools
import os

from flask import Flask, jsonify, render_template_string, request
from flask_caching import Cache

app = Flask(__name__)
app.config.update(CACHE_TYPE="FileSystemCache", CACHE_DIR=os.path.join(os.environ["DATA_FOLDER"], "cache"))
cache = Cache(app)
made = itertools.count(1)


@app.get("/")
def index():
    return "reports"


@app.get("/report")
@cache.cached(timeout=60, query_string=True)
def report():
    return jsonify(number=next(made), query=request.args)


@app.get("/plain")
@cache.cached(timeout=60, response_filter=lambda response: request.args.get("keep") == "yes")
def plain():
    return f"{next(made)}", 200, {"X-Report": "plain"}


@cache.memoize(60)
def square(n):
    return {"n": n, "square": n * n, "made": next(made)}


@app.get("/square/<int:n>")
def squared(n):
    return square(n)


@app.post("/forget/<int:n>")
def forget(n):
    cache.delete_memoized(square, n)
    return "", 204


@app.get("/stream")
@cache.cached(timeout=60, key_prefix="stream")
def stream():
    return "".join(f"line {n} of {next(made)}\n" for n in range(3))


@app.get("/page")
def page():
    return render_template_string("{% cache 60, 'part' %}{{ n }}{% endcache %} {{ m }}", n=next(made), m=request.path)
