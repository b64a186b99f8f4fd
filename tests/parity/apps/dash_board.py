"""A Dash board: callbacks, an upload, a callback that runs in the background."""

import base64
import os
import time

import diskcache
from dash import Dash, DiskcacheManager, Input, Output, State, dcc, html, no_update
from flask import request

cache = diskcache.Cache(os.path.join(os.environ["DATA_FOLDER"], "cache"))
board = Dash(__name__, background_callback_manager=DiskcacheManager(cache), suppress_callback_exceptions=True)
app = board.server
app.secret_key = "key"
board.layout = html.Div(
    [
        dcc.Input(id="name", value="wörld"),
        html.Div(id="greeting"),
        dcc.Upload(id="upload"),
        html.Div(id="uploaded"),
        html.Button(id="start"),
        html.Div(id="done"),
        html.Div(id="later"),
        dcc.Graph(id="graph", figure={"data": [{"x": [1, 2], "y": [3, 4]}]}),
    ]
)


@board.callback(Output("greeting", "children"), Input("name", "value"), State("name", "id"))
def greet(name, identity):
    if name == "broken":
        raise RuntimeError("broken")
    return f"{identity}: {name}, {request.headers.get('X-Who')}" if name else no_update


@board.callback(Output("uploaded", "children"), Input("upload", "contents"))
def uploaded(contents):
    data = base64.b64decode(contents.split(",")[1])
    return [len(data), data[:2].decode(), data[-2:].decode()]


@board.callback(Output("later", "children"), Input("name", "n_submit"))
async def later(submitted):
    return f"{submitted} at {request.path}"


@board.callback(Output("done", "children"), Input("start", "n_clicks"), background=True, prevent_initial_call=True)
def work(clicks):
    time.sleep(0.2)
    return f"{clicks} done"
