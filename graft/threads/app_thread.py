"""A thread that runs the app's code and whose own life the process does not wait for."""

from __future__ import annotations

import threading

__all__ = ["AppThread"]


class AppThread(threading.Thread):
    """Started as a daemon, and none for the code that runs in it.

    The process may end while such a thread hangs in a view. But a thread that the view starts takes ``daemon`` from the
    one that starts it, and those of Gunicorn's threads are waited for: a mail that is sent behind the answer was lost
    with each reload. Python looks at ``daemon`` when it starts this thread, and has made up its mind when that runs.
    """

    _runs = False

    @property
    def daemon(self) -> bool:
        return not self._runs

    @daemon.setter
    def daemon(self, daemonic: bool) -> None:
        threading.Thread.daemon.fset(self, daemonic)  # type: ignore[attr-defined]  # it raises as for any that runs

    def run(self) -> None:
        self._runs = True
        super().run()
