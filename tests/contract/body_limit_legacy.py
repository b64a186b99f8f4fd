"""A Flask app that reads bodies, with a hook before its views."""

from flask import Flask, request

app = Flask(__name__)


@app.before_request
def check():
    return None


def size():
    return str(len(request.get_data()))


for path in ("/legacy", "/switched", "/run"):
    app.add_url_rule(path, path, size, methods=["POST"])


def plain(environ, start_response):
    """The same for an app that is not Flask's."""
    sent = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(len(sent)).encode()]
