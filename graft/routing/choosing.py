"""An app that hands each request on, whole, to one of several others: a switchboard does, and a route by its methods.

Who calls it may ask which one that is and call that one. So what the legacy side alone is to answer can take the
express way though a native route has its path (express_way.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable

from graft.types import ASGIApp, Receive, Scope, Send


class Choosing(ABC):
    """Used on the event loop."""

    __slots__ = ()

    @abstractmethod
    def choose(self, scope: Scope) -> ASGIApp:
        """What is to answer this request, which is called next. Once a request: it is counted, and left to chance."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self.choose(scope)(scope, receive, send)
