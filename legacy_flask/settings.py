"""What the portal can be told: ``PORTAL_*`` in the environment, or the mapping given to ``create_app``.

==================== ======================= ==========================================================
name                 default                 meaning
==================== ======================= ==========================================================
PORTAL_DATA          ``var``                 folder of the database, the uploads and the secret key
PORTAL_SECRET_KEY    kept in PORTAL_DATA     signs the session cookie
PORTAL_SECURE_COOKIES off                    ``1``: the session cookie travels over HTTPS only
==================== ======================= ==========================================================
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from flask import Flask

MEGABYTE = 1024 * 1024


class DataFolderError(RuntimeError):
    """PORTAL_DATA can't be used; the message names the folder and the mend."""


def data_folder() -> Path:
    """Where the portal keeps its files, from the environment alone: for tools that run without the app."""
    return Path(os.environ.get("PORTAL_DATA") or "var")


def database_path(data: Path | None = None) -> Path:
    """The SQLite file inside ``data`` (the folder of the environment when it is None)."""
    return (data_folder() if data is None else data) / "portal.sqlite3"


def configure(app: Flask, overrides: Mapping[str, Any] | None) -> None:
    app.config.from_mapping(
        PORTAL_DATA=data_folder(),
        SECRET_KEY=os.environ.get("PORTAL_SECRET_KEY") or None,
        PASSWORD_METHOD="scrypt",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=os.environ.get("PORTAL_SECURE_COOKIES", "") in ("1", "true", "yes", "on"),
        PERMANENT_SESSION_LIFETIME=timedelta(days=30),
        MAX_CONTENT_LENGTH=5 * MEGABYTE,
        UPLOADS_PER_USER=100,
    )
    app.config.from_mapping(overrides or {})
    data = Path(app.config["PORTAL_DATA"]).absolute()
    app.config["PORTAL_DATA"] = data
    _make_folder(data / "uploads")
    if not app.config["SECRET_KEY"]:
        app.config["SECRET_KEY"] = kept_secret_key(data)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataFolderError(
            f"PORTAL_DATA: can't make {folder} ({error.strerror}). Point PORTAL_DATA at a folder that can be written."
        ) from None


def kept_secret_key(data: Path) -> str:
    """The secret key of this data folder, made once and readable by its owner only.

    Several workers may start at the same moment: each writes a key of its own to a temporary file, and the first
    hard link wins, so that nobody ever reads half a key and all end up with the same one.
    """
    path = data / "secret-key"
    if not path.exists():
        descriptor, temporary = tempfile.mkstemp(dir=data, prefix=".secret-key-")  # mkstemp makes files 0600
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32))
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(temporary)
    key = path.read_text(encoding="ascii").strip()
    if not key:
        raise DataFolderError(f"PORTAL_SECRET_KEY: {path} is empty. Delete the file, or set PORTAL_SECRET_KEY.")
    return key
