"""Logins: the cookies of the dashboard, and those that somebody has ended by logging out.

A cookie holds the id of its login, signed with the admin token and the hash of the token that logged in: so it gives no
token away, it can't be made from a hash that somebody has read, and another token ends the logins of the one before. A
login that was ended is a file in ``GRAFT_DATA/ended-logins`` for as long as its cookie would have been good: every
worker sees it, and a restart forgets none.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from contextlib import suppress
from pathlib import Path

from itsdangerous import BadData, TimestampSigner

from graft import files
from graft.control.tokens import Token, Tokens

log = logging.getLogger("graft.control")

LIFETIME = 7 * 24 * 3600
"""Seconds that a login is good for."""


class Logins:
    """Of one gateway. ``find`` and ``end`` block: they look at the folder."""

    def __init__(self, tokens: Tokens, folder: Path | None) -> None:
        self._tokens = tokens
        self._folder = folder
        self._ended: set[str] = set()  # what the folder could not take; forgotten by a restart

    def begin(self, token: Token) -> str:
        """The cookie of a new login."""
        return self._signer(token).sign(secrets.token_hex(16)).decode()

    def find(self, cookie: str) -> Token | None:
        """Who logged in; None when that was not here, is too long ago, or has ended."""
        token, login = self._read(cookie)
        return token if login is not None and not self._has_ended(login) else None

    def end(self, cookie: str) -> None:
        """From here on the cookie is worth nothing, in every worker."""
        _, login = self._read(cookie)
        if login is None:
            return
        if self._folder is None:
            self._ended.add(login)
            return
        try:
            files.make_folder_in_data(self._folder)
            (self._folder / login).touch(0o600)
            self._forget_old(self._folder)
        except OSError as error:
            self._ended.add(login)
            message = "a logout holds in this worker alone until its restart: %s can't be written: %s"
            log.error(message, self._folder, error.strerror)

    def _read(self, cookie: str) -> tuple[Token | None, str | None]:
        for token in self._tokens.all:
            with suppress(BadData):
                login = self._signer(token).unsign(cookie, max_age=LIFETIME).decode()
                return token, login
        return None, None

    def _has_ended(self, login: str) -> bool:
        return login in self._ended or (self._folder is not None and (self._folder / login).exists())

    def _forget_old(self, folder: Path) -> None:
        for path in folder.iterdir():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > LIFETIME:
                    path.unlink()

    def _signer(self, token: Token) -> TimestampSigner:
        key = b"%b\0%b" % (self._tokens.admin.encode("utf-8", "surrogatepass"), token.digest.encode())
        return TimestampSigner(key, salt="graft dashboard login", key_derivation="hmac", digest_method=hashlib.sha256)
