"""The key of the hashes that stand in the place of secrets: one for each gateway, kept in its data folder."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

from graft import files
from graft.mirroring.redact import PROCESS_KEY

_SIZE = 32

logger = logging.getLogger(__name__)


def redaction_key(data: Path) -> bytes:
    """The key in ``data``, made with mode 0600 by the first worker that asks. Where none can be kept, the process's."""
    path = data / "redaction-key"
    try:
        files.make_data_folder(data)
        if not path.exists():
            files.create(path, secrets.token_bytes(_SIZE), 0o600)  # of several workers, one key stays
        key = path.read_bytes()
    except OSError as error:
        logger.warning("No redaction key can be kept at %s: %s", path, error)
        return PROCESS_KEY
    return key if len(key) == _SIZE else PROCESS_KEY
