"""Tokens of the control plane: the admin token, and named ones with a role, of which only hashes are kept.

``GRAFT_ADMIN_TOKENS`` has entries ``name:role:hash`` with commas between, or the path of a file with one a line.
``graft token`` makes the token and its entry. The hash is SHA-256: a token has 256 random bits, so there is nothing
that a slow hash would protect, and a slow one would let strangers keep the server busy. To change a token, list the
old and the new one under the same name, and take the old one out when nobody uses it any more.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from graft.errors import SettingError

SETTING = "GRAFT_ADMIN_TOKENS"

ADMIN = "admin token"
"""Who asks with the admin token, as the history has it."""


class Role(StrEnum):
    VIEWER = "viewer"  # reads everything
    OPERATOR = "operator"  # and may change it


@dataclass(frozen=True, slots=True)
class Token:
    """Who has it, and what that person may do. ``digest`` is the SHA-256 of the token, in hex."""

    name: str
    role: Role
    digest: str

    @property
    def entry(self) -> str:
        return f"{self.name}:{self.role}:{self.digest}"


class Tokens:
    """The admin token and the named ones. Immutable."""

    def __init__(self, admin: str, named: Iterable[Token] = ()) -> None:
        self.admin = admin
        self.all = (Token(ADMIN, Role.OPERATOR, digest_of(admin)), *named)

    def find(self, sent: str) -> Token | None:
        """The token that ``sent`` is. It takes as long whichever it is, and whether it is one."""
        digest, found = digest_of(sent), None
        for token in self.all:
            if hmac.compare_digest(token.digest, digest) and found is None:
                found = token
        return found


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def new_token(name: str, role: Role) -> tuple[str, Token]:
    """A secret of 256 random bits, and what may be kept of it. Raises ValueError for a name that no entry can have."""
    if not _NAME(name):
        raise ValueError(f"{name!r} is no name; letters, digits, dots, dashes, @ and blanks inside are")
    secret = secrets.token_urlsafe(32)
    return secret, Token(name, role, digest_of(secret))


def named_tokens(setting: str | None) -> tuple[Token, ...]:
    """Those of GRAFT_ADMIN_TOKENS. Raises SettingError, which shows no hash."""
    if not setting:
        return ()
    if ":" in setting and not Path(setting).is_file():
        found = enumerate(setting.split(","), 1)
        return tuple(_token(entry, f"entry {number}") for number, entry in found if entry.strip())
    try:
        lines = Path(setting).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise SettingError(SETTING, f"{setting} can't be read: {reason}", _MEND) from None
    entries = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    return tuple(_token(entry, f"{setting}:{number}") for number, entry in entries if entry and entry[0] != "#")


def _token(entry: str, place: str) -> Token:
    name, _, rest = entry.strip().partition(":")
    role, _, digest = rest.partition(":")
    if not _NAME(name) or name == ADMIN:
        raise SettingError(SETTING, f"{place} has no name", _MEND)
    if role not in tuple(Role):
        raise SettingError(SETTING, f"{place}, {name}, has the role {role[:40]!r}", "A role is viewer or operator.")
    if not _DIGEST(digest.lower()):
        raise SettingError(SETTING, f"{place}, {name}, has no SHA-256 in hex", _MEND)
    return Token(name, Role(role), digest.lower())


_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@ -]{0,62}[A-Za-z0-9])?").fullmatch
_DIGEST = re.compile(r"[0-9a-f]{64}").fullmatch
_MEND = "Entries are name:role:hash; graft token NAME --role operator makes one."
