"""Unknown users: a warning where ``sticky = "user"`` holds nobody, as the session keeps who is logged in elsewhere."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

SESSIONS = 50
"""So many sessions without a user, and none with one, before it is said."""

MOST_KEYS = 5
MOST_NAMES = 200
_NOBODYS = re.compile(r"_(?!user)|csrf_token$")
"""Keys of Flask, Flask-Login and Flask-WTF that are in the session of anybody."""

logger = logging.getLogger(__name__)


class UnknownUsers:
    """Looks at the sessions that are opened for the key ``key``. (event loop)"""

    def __init__(self, key: str) -> None:
        self._key = key
        self._sessions = 0
        self._names: Counter[str] = Counter()
        self._over = False

    def saw(self, session: Mapping[str, Any], *, known: bool) -> None:
        """A session was opened; ``known``: it has a user."""
        if self._over or not (names := [str(name)[:100] for name in session if not _NOBODYS.match(str(name))]):
            return
        self._over = known
        self._sessions += not known
        self._names.update(names if len(self._names) < MOST_NAMES else ())
        if self._sessions >= SESSIONS:
            self._over = True
            there = ", ".join(name for name, _ in self._names.most_common(MOST_KEYS))
            logger.warning(
                'sticky = "user" knows nobody: none of %d sessions has "%s", so clients are told apart by address and '
                'user agent. The sessions have: %s. Write sticky = "user:KEY", or set GRAFT_LOG_USER=KEY',
                self._sessions,
                self._key,
                there,
            )
