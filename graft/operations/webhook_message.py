"""The messages of webhooks: the JSON of a change without its secrets, and the signature."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from graft import files
from graft.mirroring.redact import Redactor
from graft.operations.sentences import sentence
from graft.operations.state import Event
from graft.settings import Settings

log = logging.getLogger("graft.webhook")


def message_of(event: Event, redactor: Redactor) -> bytes:
    """The JSON of one change. What people and failures wrote as reasons is without its secrets."""

    def told(value: Any) -> Any:
        if isinstance(value, str):
            return redactor.text(value)
        if isinstance(value, Mapping):
            return {name: told(each) for name, each in value.items()}
        return [told(each) for each in value] if isinstance(value, list | tuple) else value

    why = redactor.text(event.why) if event.why else event.why
    event = replace(event, by=redactor.text(event.by), why=why, before=told(event.before), after=told(event.after))
    data = event.as_data()
    message = {"type": "route.changed", "timestamp": data["at"], "text": sentence(event), "data": data}
    return json.dumps(message).encode()


def signature(secret: bytes, id: str, timestamp: str, body: bytes) -> str:
    """The ``webhook-signature`` of a message."""
    digest = hmac.new(secret, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def secret_bytes(text: str) -> bytes:
    """The key that ``whsec_`` and base64 stand for; any other text is the key itself."""
    kind, _, encoded = text.partition("_")
    if kind == "whsec":
        with suppress(binascii.Error, ValueError):
            return base64.b64decode(encoded, validate=True)
    return text.encode()


def webhook_secret(settings: Settings) -> str:
    """What messages are signed with: of the settings, else made once and kept in the data folder, for all workers."""
    if settings.webhook_secret is not None:
        return settings.webhook_secret.get_secret_value()
    path = settings.data / "webhook-secret"
    made = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}\n"
    try:
        files.make_data_folder(path.parent)
        if not path.exists():
            files.create(path, made.encode(), 0o600)
        return path.read_text().strip()
    except OSError as error:
        log.error("No secret can be kept at %s: %s. Nobody can verify the webhook's messages", path, error.strerror)
        return made.strip()
