"""The key of the hashes that stand in the place of secrets: one for each gateway, kept in its data folder."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from graft.mirroring.redact import PROCESS_KEY

_SIZE = 32

logger = logging.getLogger(__name__)


def redaction_key(data: Path) -> bytes:
    """The key in ``data``, made with mode 0600 by the first worker that asks. Where none can be kept, the process's."""
    path = data / "redaction-key"
    try:
        data.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _publish(path)
        key = path.read_bytes()
    except OSError as error:
        logger.warning("No redaction key can be kept at %s: %s", path, error)
        return PROCESS_KEY
    return key if len(key) == _SIZE else PROCESS_KEY


def _publish(path: Path) -> None:
    """Whole or not at all; of several workers that start together, one key stays (a link never replaces)."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(_SIZE))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
