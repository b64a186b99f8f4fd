"""The site's Flask app with WebSockets of its own: Flask-Sock, and Flask-SocketIO in threading mode."""

from __future__ import annotations

import os
from typing import Any

from flask_sock import Sock
from flask_socketio import SocketIO
from simple_websocket import ConnectionClosed

from tests.deploy.site.legacy import app, saw

app.config["SECRET_KEY"] = "k" * 40
sock = Sock(app)
sockets = SocketIO(app, async_mode="threading")


@sock.route("/sock/echo")
def echo(ws: Any) -> None:
    """Each message with the process that answered; the last word goes into a file."""
    try:
        while True:
            ws.send(f"{ws.receive()} from {os.getpid()} at {saw()['url']}")
    except ConnectionClosed as closed:
        with open(os.environ["SITE_COUNT"], "a") as file:
            file.write(f"closed with {closed.reason}\n")


@sockets.on("say")
def say(text: str) -> dict[str, Any]:
    return {"said": text, "pid": os.getpid()}
