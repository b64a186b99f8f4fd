"""Extensions that each keep something beside the request: sessions in files, mail, futures, tokens, uploads."""

import tempfile
import threading
from pathlib import Path

from cachelib.file import FileSystemCache
from flask import Flask, copy_current_request_context, g, jsonify, render_template_string, request, session
from flask_assets import Bundle, Environment
from flask_executor import Executor
from flask_jwt_extended import JWTManager, create_access_token, get_jwt_identity, jwt_required
from flask_mail import Mail, Message, email_dispatched
from flask_session import Session
from flask_uploads import IMAGES, UploadNotAllowed, UploadSet, configure_uploads

folder = Path(tempfile.mkdtemp(prefix="extensions-"))
(folder / "static").mkdir()
(folder / "static" / "a.css").write_text("a { color: red }\n")
(folder / "static" / "b.css").write_text("b { color: blue }\n")

app = Flask(__name__, static_folder=str(folder / "static"))
app.config.update(
    SECRET_KEY="k" * 40,
    SESSION_TYPE="cachelib",
    SESSION_CACHELIB=FileSystemCache(str(folder / "sessions")),
    JWT_SECRET_KEY="j" * 40,
    MAIL_SUPPRESS_SEND=True,
    MAIL_DEFAULT_SENDER="shop@shop.example",
    UPLOADED_PHOTOS_DEST=str(folder / "photos"),
    UPLOADS_AUTOSERVE=True,
    MAX_CONTENT_LENGTH=1_000_000,
)
Session(app)
JWTManager(app)
mail = Mail(app)
executor = Executor(app)
assets = Environment(app)
assets.register("all", Bundle("a.css", "b.css", output="gen/all.%(version)s.css"))
photos = UploadSet("photos", IMAGES)
configure_uploads(app, photos)
sent = []


@email_dispatched.connect
def record(sender, message):
    sent.append([message.subject, sorted(message.send_to), len(message.attachments)])


@app.get("/count")
def count():
    session["n"] = session.get("n", 0) + 1
    return str(session["n"])


@app.get("/forget")
def forget():
    session.clear()
    return "forgotten"


@app.get("/mail")
def send():
    message = Message("hällo", recipients=["ann@shop.example"], body="bödy")
    message.attach("a.txt", "text/plain", b"x" * 1000)
    mail.send(message)

    def later():
        with app.app_context():
            mail.send(Message("later", recipients=["bob@shop.example"], body=request.path))

    thread = threading.Thread(target=copy_current_request_context(later))
    thread.start()
    thread.join()
    return jsonify(sent[-2:])


def work(number):
    if number == 3:
        raise LookupError(number)
    return [number, request.path, g.word]


@app.get("/futures")
def futures():
    g.word = request.args["word"]
    found = [executor.submit(work, number) for number in range(5)]
    told = [repr(future.exception()) if future.exception() else future.result() for future in found]
    return jsonify([*told, list(executor.map(lambda number: number * 2, range(5)))])


@app.get("/assets")
def styles():
    return render_template_string("{% assets 'all' %}{{ ASSET_URL }}{% endassets %}")


@app.post("/photo")
def photo():
    try:
        return photos.url(photos.save(request.files["photo"]))
    except UploadNotAllowed:
        return "no photo", 415


@app.post("/token")
def token():
    return jsonify(token=create_access_token(request.form["name"]))


@app.get("/private")
@jwt_required()
def private():
    return jsonify(get_jwt_identity())


@app.errorhandler(413)
def too_large(error):
    return f"too large: {error.description}", 413
