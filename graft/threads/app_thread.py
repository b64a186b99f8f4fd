"""A thread that runs the app's code and whose own life the process does not wait for."""

from __future__ import annotations

import asyncio
import threading

__all__ = ["AppThread"]


class AppThread(threading.Thread):
    """Started as a daemon, and none for the code that runs in it.

    The process may end while such a thread hangs in a view. But a thread that the view starts takes ``daemon`` from the
    one that starts it, and those of Gunicorn's threads are waited for: a mail that is sent behind the answer was lost
    with each reload. Python looks at ``daemon`` when it starts this thread, and has made up its mind when that runs.

    Not so in a step of an async view: what starts threads there are async clients, as aiosqlite, which outlive requests
    here and are closed by nobody; a worker would wait for them until it is killed.
    """

    _runs = False

    @property
    def daemon(self) -> bool:
        if not self._runs or threading.get_ident() != self.ident:
            return True
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    @daemon.setter
    def daemon(self, daemonic: bool) -> None:
        threading.Thread.daemon.fset(self, daemonic)  # type: ignore[attr-defined]  # it raises as for any that runs

    def run(self) -> None:
        self._runs = True
        super().run()
