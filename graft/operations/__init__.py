"""What is done to switched routes: one function each, used by the command line, the API, the dashboard and trips.

An operation takes a ``State``, which ``open_state`` opens. ``by`` is who asks for it: the name of a person or a token,
``TRIP`` or ``PROMOTION``.
"""

from __future__ import annotations

from graft.operations.file_state import FileState
from graft.operations.state import State
from graft.settings import Settings

__all__ = ["open_state"]


def open_state(settings: Settings, *, this_host: bool = False) -> State:
    """The state that a gateway with these settings goes by. With ``this_host`` a change of a fleet is made on this host
    at once, and goes to the others when it can. Raises SettingError where the settings contradict each other."""
    if settings.fleet is not None:
        from graft.fleet import fleet_state, of_this_host  # who has no fleet pays for none

        return (of_this_host.OfThisHost if this_host else fleet_state.FleetState).of(settings.fleet, settings)
    return FileState.of(settings)
