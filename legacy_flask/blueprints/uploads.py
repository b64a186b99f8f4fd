"""Files that people keep beside the documentation: their own notes, diagrams, logs."""

from __future__ import annotations

import secrets
from pathlib import Path

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    flash,
    g,
    redirect,
    render_template,
    request,
    send_from_directory,
    url_for,
)
from werkzeug.datastructures import FileStorage
from werkzeug.utils import secure_filename

from legacy_flask import articles, database
from legacy_flask.security import login_required

blueprint = Blueprint("uploads", __name__)

# ending -> media type, and the bytes that such a file begins with (None: any UTF-8 text)
TYPES: dict[str, tuple[str, tuple[bytes, ...] | None]] = {
    "txt": ("text/plain", None),
    "md": ("text/markdown", None),
    "csv": ("text/csv", None),
    "json": ("application/json", None),
    "log": ("text/plain", None),
    "pdf": ("application/pdf", (b"%PDF-",)),
    "png": ("image/png", (b"\x89PNG\r\n\x1a\n",)),
    "jpg": ("image/jpeg", (b"\xff\xd8\xff",)),
    "gif": ("image/gif", (b"GIF87a", b"GIF89a")),
}
LONGEST_NAME = 120
LONGEST_NOTE = 500


class Refused(Exception):
    """A file that is not taken; the message says why, to the person who sent it."""


@blueprint.get("/uploads")
@login_required
def listing() -> str:
    rows = database.get().execute("SELECT * FROM uploads WHERE user_id = ? ORDER BY id DESC", (g.user["id"],))
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    return render_template("uploads.html", uploads=rows.fetchall(), types=TYPES, limit=limit)


@blueprint.post("/uploads")
@login_required
def upload() -> Response:
    file = request.files.get("file")
    try:
        if file is None or not file.filename:
            raise Refused("Choose a file first.")
        _check_quota()
        _keep(file, request.form.get("note", "").strip()[:LONGEST_NOTE])
    except Refused as reason:
        flash(str(reason), "error")
    else:
        flash("File stored.", "success")
    return redirect(url_for("uploads.listing"))  # type: ignore[return-value]


@blueprint.get("/uploads/<int:upload_id>")
@login_required
def download(upload_id: int) -> Response:
    row = _own(upload_id)
    return send_from_directory(
        _folder(), row["stored"], mimetype=row["type"], as_attachment=True, download_name=row["name"]
    )


@blueprint.post("/uploads/<int:upload_id>/delete")
@login_required
def delete(upload_id: int) -> Response:
    row = _own(upload_id)
    database.get().execute("DELETE FROM uploads WHERE id = ?", (upload_id,))
    (_folder() / row["stored"]).unlink(missing_ok=True)
    flash("File deleted.", "success")
    return redirect(url_for("uploads.listing"))  # type: ignore[return-value]


def _own(upload_id: int):  # type: ignore[no-untyped-def]
    """The row of a file that belongs to whoever asks: 404 where there is none, 403 where it is another person's."""
    row = None
    if upload_id <= articles.LARGEST_ID:
        row = database.get().execute("SELECT * FROM uploads WHERE id = ?", (upload_id,)).fetchone()
    if row is None:
        abort(404, "There is no such file.")
    if row["user_id"] != g.user["id"]:
        abort(403, "This file belongs to somebody else.")
    return row


def _folder() -> Path:
    return current_app.config["PORTAL_DATA"] / "uploads"  # type: ignore[no-any-return]


def _check_quota() -> None:
    limit = current_app.config["UPLOADS_PER_USER"]
    (count,) = database.get().execute("SELECT count(*) FROM uploads WHERE user_id = ?", (g.user["id"],)).fetchone()
    if count >= limit:
        raise Refused(f"You have {count} files, and the limit is {limit}. Delete one first.")


def _keep(file: FileStorage, note: str) -> None:
    """Check the file, store it under a name of our own, and remember it. The sent name is for display only."""
    name = secure_filename(file.filename or "")[-LONGEST_NAME:]
    ending = Path(name).suffix.lower().lstrip(".").replace("jpeg", "jpg")
    if ending not in TYPES:
        raise Refused(f"Files of this type are not taken. These are: {', '.join(sorted(TYPES))}.")
    content = file.read()  # MAX_CONTENT_LENGTH bounds it
    media_type, beginnings = TYPES[ending]
    if not content:
        raise Refused("The file is empty.")
    if not (_is_text(content) if beginnings is None else content.startswith(beginnings)):
        raise Refused(f"The file is not what its ending .{ending} says.")
    stored = f"{secrets.token_hex(16)}.{ending}"
    (_folder() / stored).write_bytes(content)
    database.get().execute(
        "INSERT INTO uploads (user_id, name, stored, type, size, note) VALUES (?, ?, ?, ?, ?, ?)",
        (g.user["id"], name, stored, media_type, len(content), note),
    )


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode("utf-8")
    except UnicodeDecodeError:
        return False
