"""What is done to switched routes: one function each, used by the command line, the API, the dashboard and trips.

An operation takes a ``State``, which ``open_state`` opens. ``by`` is who asks for it: the name of a person or a token,
``TRIP`` or ``PROMOTION``.
"""

from __future__ import annotations

from graft.operations.file_state import FileState
from graft.operations.state import State
from graft.settings import Settings

__all__ = ["open_state"]


def open_state(settings: Settings) -> State:
    """The state that a gateway with these settings goes by."""
    return FileState.of(settings)
