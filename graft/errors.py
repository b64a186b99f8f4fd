"""The exceptions that Graft raises.

GraftError
├── SettingError          a setting is wrong: names the setting, what was found, and the mend
│   ├── LegacyAppError    GRAFT_LEGACY does not lead to a WSGI app
│   ├── NativeRoutesError GRAFT_NATIVE does not lead to routes, or two modules claim one route
│   └── SwitchesError     switches.toml can't be read, or says what it may not say
│       ├── SwitchesReadOnly  it can't be written
│       ├── SwitchesBroken  it can be read, and says what it may not say
│       └── FleetUnavailable  the fleet's cluster can't be asked now, or takes no change
├── UnknownRoute          this app has no route of that name: says which is the nearest
│   └── NotSwitched       only one side has the route
├── MirroredWrite         a mirrored run tried to change something; in graft.mirroring.fence
├── OperationRefused      a change is not made, as the state of the route is against it
│   └── RouteHeld         a person holds the route: says who, why, and how to release it
├── TaskRefused           no background task is started; in graft.tasks
│   ├── TasksFull         as many run as GRAFT_TASKS_LIMIT allows
│   └── TasksClosed       the worker is shutting down, or no gateway runs in this process
├── NoGateway             no gateway is meant clearly, so a command did nothing; in graft.cli.target
├── GatewayUnreachable    a gateway can't be asked; in graft.gateways.client
├── GatewayAnswered       a gateway refuses what it was asked; in graft.gateways.client
├── FileTooShort          a file was cut while it was sent; in graft.connection.file_transfer
├── DifferencesError      the stored differences can't be read or written now
└── SearchError           Elasticsearch can't do what was asked
    └── ServerMismatch    the server is no Elasticsearch, or one of a version that the client can't speak to
"""

from __future__ import annotations


class GraftError(Exception):
    """The root of what Graft raises on purpose. ``str(error)`` is one line, fit for a person."""


class SettingError(GraftError):
    """A setting that a person can mend.

    ``setting`` is its name as the person wrote it, ``found`` what was there, ``mend`` what to do about it.
    """

    def __init__(self, setting: str, found: str, mend: str) -> None:
        self.setting = setting
        self.found = found
        self.mend = mend
        super().__init__(" ".join(f"{setting}: {found.rstrip('.')}. {mend}".split()))


class LegacyAppError(SettingError):
    """GRAFT_LEGACY does not lead to a WSGI app."""


class NativeRoutesError(SettingError):
    """GRAFT_NATIVE does not lead to routes, or two modules claim one route."""


class SwitchesError(SettingError):
    """switches.toml can't be read, or says what it may not say."""


class SwitchesReadOnly(SwitchesError):
    """switches.toml can't be written."""


class SwitchesBroken(SwitchesError):
    """switches.toml can be read, and is no TOML or says what it may not say."""


class FleetUnavailable(SwitchesError):
    """The cluster that has the fleet's switches can't be asked now, or takes no change. Every host goes on with what it
    knew last."""


class UnknownRoute(GraftError):
    """This app has no route of that name."""


class NotSwitched(UnknownRoute):
    """Only one side has the route, so there is nothing to switch."""


class OperationRefused(GraftError):
    """A change is not made, as the state of the route is against it."""


class RouteHeld(OperationRefused):
    """A person holds the route: its share does not go up until it is released."""


class DifferencesError(GraftError):
    """The stored differences can't be read or written now."""


class SearchError(GraftError):
    """Elasticsearch can't do what was asked."""


class ServerMismatch(SearchError):
    """The server is no Elasticsearch, or one of a version that the client can't speak to."""
