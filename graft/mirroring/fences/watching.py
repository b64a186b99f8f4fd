"""Which libraries are in the process, and have been told of the fence.

Nothing is imported for its own sake, and no import hook is set: before each mirrored run the number of imported modules
tells whether to look at them again; one that a mirrored run itself is about to import is imported a moment sooner, by
the event that Python raises before it.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable
from threading import RLock
from typing import Any

from graft.mirroring.fences import clients, drivers, events, jobs
from graft.mirroring.fences.logs import mark_records
from graft.observe.telemetry import mark_spans

log = logging.getLogger("graft.mirror")

_waiting: dict[str, Callable[[Any], None]] = {**drivers.LIBRARIES, **clients.LIBRARIES, **jobs.LIBRARIES}
"""What to do with each module that is not imported yet. Changed under the lock."""
_lock = RLock()  # the import that an install makes may bring another one
_modules = -1
"""How many modules there were at the last look"""


def watch() -> None:
    """Have the fence stand in all that is imported by now. (before each mirrored run)"""
    global _modules
    mark_records()
    mark_spans()
    if len(sys.modules) == _modules:
        return
    with _lock:
        if _modules < 0:
            events.install()
        _modules = len(sys.modules)
        for name in [name for name in _waiting if name in sys.modules]:
            _stand_in(name)


def imports(name: str) -> None:
    """A mirrored run is about to import this module."""
    if name in _waiting:
        try:
            importlib.import_module(name)
        except Exception:  # the import itself is about to say so
            return
        with _lock:
            _stand_in(name)


def _stand_in(name: str) -> None:
    module = sys.modules.get(name)
    if module is None or getattr(getattr(module, "__spec__", None), "_initializing", False):
        return
    install = _waiting.pop(name, None)
    if install is None:
        return
    try:
        install(module)
    except Exception:
        log.warning("mirrored runs are not kept from writing through %s of this version", name, exc_info=True)
