"""Logging for people (``LOG_FORMAT=console``) or machines (``json``): the request id in every line of both sides.

The root logger, its handlers and its level are the app's, as under any server. Graft writes through one handler of its
own, which hangs on its own loggers and the servers'; they do not propagate, so that nothing of theirs gets into a file
of the app. What no handler takes goes to ``logging.lastResort``, and Flask gives ``app.logger`` a handler where it
finds none: these two stand in for an app that has set up nothing, and only they are given Graft's form.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS

from graft.observe import paths, requestid
from graft.observe.access_log import ACCESS_LOG
from graft.observe.formatters import ConsoleFormatter, JsonLines
from graft.settings import LogFormat, Settings

Fields = Callable[[], Mapping[str, str]]
"""What is known of the request that the calling code runs for: ``user``, ``route``, ``side``."""


class RequestIdFilter(logging.Filter):
    """Adds ``request_id`` to each record: of the request that the logging code runs for, else ``-``.

    ``fields`` adds what else is known of that request, and ``tag`` is what stands between the brackets on a console.
    """

    def __init__(self, fields: Fields | None = None) -> None:
        super().__init__()
        self._fields = fields

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = requestid.current.get() or "-"
            for name, value in (self._fields() if self._fields is not None else {}).items():
                setattr(record, name, value)
        user = getattr(record, "user", None)
        request_id = vars(record)["request_id"]
        record.tag = request_id if user is None else f"{request_id} user={user}"
        return True


class ServerHandler(logging.StreamHandler[TextIO]):
    """Graft's own way to stderr. A class of its own, so that it is known again on loggers that others touch."""

    def emit(self, record: logging.LogRecord) -> None:
        """At once, behind the access records that wait for their batch."""
        ACCESS_LOG.catch_up()
        super().emit(record)


class _Audible(logging.Logger):
    """A logger that no ``dictConfig`` of the app can switch off: its default is to disable all that it does not name,
    and some apps call it when the first visitor has filled in a form."""

    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None: ...


def configuration(settings: Settings) -> dict[str, Any]:
    """Gunicorn's ``logconfig_dict``: its own lines in the shape of the gateway's. Says nothing of the root logger."""
    form = _FORMATS[settings.log_format]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": RequestIdFilter}},
        "formatters": {str(settings.log_format): form},
        "handlers": {
            "graft": {
                "class": f"{__name__}.{ServerHandler.__name__}",
                "formatter": str(settings.log_format),
                "filters": ["request_id"],
            }
        },
        "root": {},  # Gunicorn would give it a handler and a level
        "loggers": {"gunicorn.error": {"level": _level(settings), "propagate": False, "handlers": ["graft"]}},
    }


def configure(settings: Settings, fields: Fields | None = None) -> None:
    """Set up the loggers of Graft and of its servers: before the app is imported, and once more, with ``fields``, when
    the worker starts.

    No handler is closed. On the servers' loggers Graft's takes the place of those that write to the terminal; what else
    hangs there, as a file of ``--error-logfile`` or a handler of the app, stays.
    """
    paths.choose(settings.log_paths)
    handler = _handler(settings, fields)
    for name in _OWN:
        logger = logging.getLogger(name)
        logger.handlers[:] = [*filter(_stays, logger.handlers), handler]  # in place: apps hold this very list
        logger.setLevel(_level(settings))
        logger.propagate = False
    ACCESS_LOG.use(handler, settings.log_format)
    for name, level in _BELOW_UVICORN.items():
        logger = logging.getLogger(name)
        logger.handlers = [each for each in logger.handlers if _stays(each)]  # Uvicorn's worker shares Gunicorn's
        logger.setLevel(level)
        logger.propagate = True
    logging.getLogger("uvicorn.error").addFilter(_is_no_handshake)  # once: the same filter is not added again
    for name, known in list(logging.root.manager.loggerDict.items()):
        if name.startswith(_OWN) and isinstance(known, logging.Logger):
            known.disabled = False
            if type(known) is logging.Logger:
                known.__class__ = _Audible
    if logging.lastResort is _PYTHONS_LAST_RESORT or isinstance(logging.lastResort, ServerHandler):
        logging.lastResort = handler
    native = logging.getLogger(settings.native)
    if native.level == logging.NOTSET:
        native.setLevel(_level(settings))


def adopt(handler: logging.StreamHandler[Any], settings: Settings, fields: Fields | None = None) -> None:
    """Have a handler that the app did not choose write as Graft's does, with the request id."""
    ours = _handler(settings, fields)
    handler.stream = ours.stream  # setStream would flush the old one, which may be closed
    handler.setFormatter(ours.formatter)
    handler.filters[:] = [each for each in handler.filters if not isinstance(each, RequestIdFilter)] + ours.filters


def is_adopted(handler: logging.Handler) -> bool:
    return any(isinstance(each, RequestIdFilter) for each in handler.filters)


def _handler(settings: Settings, fields: Fields | None) -> ServerHandler:
    handler = ServerHandler()
    handler.setLevel(_level(settings))  # an app's logger with a level of its own prints no DEBUG here
    handler.setFormatter(_formatter(settings.log_format))
    handler.addFilter(RequestIdFilter(fields))
    return handler


def _formatter(log_format: LogFormat) -> logging.Formatter:
    options = {name: value for name, value in _FORMATS[log_format].items() if name != "()"}
    if log_format is LogFormat.CONSOLE:
        return ConsoleFormatter(**options)
    return JsonLines(**options)


def _is_no_handshake(record: logging.LogRecord) -> bool:
    """Uvicorn tells each handshake with its path and its query, in which the tokens of WebSockets stand; Graft's own
    record of it has no query, and the path as ``GRAFT_LOG_PATHS`` says."""
    return '"WebSocket %s"' not in str(record.msg)


def _stays(handler: logging.Handler) -> bool:
    """Whether it is no plain stream: by one a server, or Graft in an earlier lifespan, writes to the terminal."""
    return type(handler) not in (logging.StreamHandler, ServerHandler)


def _level(settings: Settings) -> str:
    return "DEBUG" if settings.log_level == "trace" else settings.log_level.upper()


_OWN = ("graft", "uvicorn", "gunicorn.error")
_BELOW_UVICORN = {"uvicorn.error": logging.NOTSET, "uvicorn.access": logging.WARNING}  # Graft writes its own records
_PYTHONS_LAST_RESORT = logging.lastResort

_FORMATS: dict[LogFormat, dict[str, Any]] = {
    LogFormat.CONSOLE: {"()": ConsoleFormatter, "fmt": "%(asctime)s %(levelname)-7s [%(tag)s] %(name)s: %(message)s"},
    LogFormat.JSON: {
        "()": JsonLines,
        "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s",
        "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger", "graft_mirror": "mirror"},
        "reserved_attrs": [*RESERVED_ATTRS, "tag"],
    },
}
