"""Graft moves a Flask app to async one route at a time, in one process, with proof at each step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["__version__", "gateway", "is_mirrored"]

__version__ = "0.1.0"
DISTRIBUTION = "graft-asgi"
"""What pip calls it: ``graft`` is somebody else's on the registry."""


def gateway(*, serve: bool = True, **settings: Any) -> Starlette:
    """The gateway as an ASGI app: ``app = graft.gateway()`` is all that a project's gateway.py needs.

    ``settings`` are fields of ``graft.settings.Settings`` and win over the environment, as in
    ``graft.gateway(legacy="shop:app")``. What the command line and gunicorn.conf.py have to know as well, such as
    ``switches``, ``data`` and ``port``, belongs in the environment or in ``.env``.

    In the program that a person starts (``python gateway.py``) it serves and does not return, unless ``serve`` is
    false. Raises SettingError when a setting is wrong; under a server that is one line and the end of the server.
    """
    from graft.application import build, serve_program

    caller = sys._getframe(1)
    name = caller.f_globals.get("__name__", "")
    app = build(name, **settings)
    if serve and name == "__main__" and "__file__" in caller.f_globals and caller.f_code.co_name == "<module>":
        serve_program(app, settings)
    return app


def is_mirrored() -> bool:
    """Whether this code runs for a mirrored request: one that is answered already, and is asked once more on the other
    side to compare. (any thread or task of a request, of either side)

    False without a gateway, too. A mirrored run also has ``graft.mirrored`` in its WSGI environ and its ASGI scope.
    """
    from graft.mirroring.fence import mirrored_run

    return mirrored_run() is not None
