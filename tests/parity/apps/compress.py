"""Pages of every size and kind behind Flask-Compress."""

from flask import Flask, Response, jsonify, send_file, stream_with_context
from flask_compress import Compress

app = Flask(__name__, static_folder=".", static_url_path="/files")
app.config.update(COMPRESS_MIN_SIZE=100, COMPRESS_STREAMS=True)
Compress(app)


@app.get("/")
def index():
    return "<p>hello</p>" * 300


@app.get("/small")
def small():
    return "small"


@app.get("/rows")
def rows():
    return jsonify(rows=[{"id": n, "name": f"näme {n}"} for n in range(2000)])


@app.get("/tagged")
def tagged():
    response = Response("tagged " * 200, mimetype="text/plain")
    response.add_etag()
    return response


@app.get("/stream")
def stream():
    @stream_with_context
    def lines():
        for n in range(500):
            yield f"line {n}\n"

    return Response(lines(), mimetype="text/plain")


@app.get("/source")
def source():
    return send_file(__file__, mimetype="text/plain", conditional=True)


@app.get("/packed")
def packed():
    return Response(b"\x1f\x8b" + bytes(500), headers={"Content-Encoding": "gzip"})


@app.get("/image")
def image():
    return Response(bytes(2000), mimetype="image/png")
