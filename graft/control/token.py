"""The admin token: from GRAFT_ADMIN_TOKEN, else made once and kept in the data folder for all workers."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graft import files
from graft.errors import SettingError
from graft.gateways.addresses import local_address
from graft.settings import Settings


def admin_token(settings: Settings) -> str:
    """The token of this gateway. Raises SettingError when there is none and none can be kept."""
    if settings.admin_token is not None:
        return settings.admin_token.get_secret_value()
    path = settings.data / "admin-token"
    token, made = kept_token(path)
    if made:
        _unprinted[path] = token
        if not _deferred:
            print_login_link(settings)
    return token


def has_admin_token(settings: Settings) -> bool:
    """Whether ``admin_token`` would make none."""
    return settings.admin_token is not None or (settings.data / "admin-token").is_file()


def print_login_link(settings: Settings) -> None:
    """Say once how to reach the dashboard, if this process made the token.

    The link stands on a terminal only: whoever has it may move routes, and stderr of a service is a log.
    """
    path = settings.data / "admin-token"
    token = _unprinted.pop(path, None)
    if token is not None:
        terminal = sys.stderr is not None and sys.stderr.isatty()
        how = f"Dashboard: {link(settings, token)}" if terminal else "graft open --print shows the dashboard's link."
        print(f"The admin token was made and is kept at {path}. {how}", file=sys.stderr, flush=True)


def link(settings: Settings, token: str) -> str:
    """The dashboard's address with the token, behind a "#", which browsers keep to themselves."""
    return f"{_home(settings)}/_graft/#token={token}"


@contextmanager
def login_link_deferred() -> Iterator[None]:
    """Inside, making a token prints nothing: who knows the address calls ``print_login_link`` later. (start-up)"""
    _deferred.append(True)
    try:
        yield
    finally:
        _deferred.pop()


_unprinted: dict[Path, str] = {}
_deferred: list[bool] = []


def _home(settings: Settings) -> str:
    if settings.port == 0:
        return "(the address below)"
    return local_address(settings.host, settings.port)


def kept_token(path: Path) -> tuple[str, bool]:
    """The token in ``path``, and whether this call made it.

    The first of several callers makes it, with mode 0600, whole or not at all.
    """
    try:
        files.make_data_folder(path.parent)
        made = not path.exists() and files.create(path, f"{secrets.token_urlsafe(32)}\n".encode(), 0o600)
        token = path.read_text().strip()
    except OSError as error:
        raise SettingError(
            "GRAFT_ADMIN_TOKEN",
            f"is not set, and none can be kept at {path}: {error.strerror}",
            "Set it, or GRAFT_DATA.",
        ) from error
    if not token:
        raise SettingError("GRAFT_ADMIN_TOKEN", f"is not set, and {path} is empty", "Delete that file, or set a token.")
    return token, made
