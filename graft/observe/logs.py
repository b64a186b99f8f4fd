"""Logging for people (``LOG_FORMAT=console``) or machines (``json``): the request id in every line of both sides."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Callable, Mapping
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS

from graft.observe import requestid
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


def configuration(settings: Settings, fields: Fields | None = None) -> dict[str, Any]:
    """A ``logging.config.dictConfig`` for this process; Gunicorn takes it as ``logconfig_dict``."""
    level = "DEBUG" if settings.log_level == "trace" else settings.log_level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": RequestIdFilter, "fields": fields}},
        "formatters": {
            LogFormat.CONSOLE: {"format": "%(asctime)s %(levelname)-7s [%(tag)s] %(name)s: %(message)s"},
            LogFormat.JSON: {
                "()": "pythonjsonlogger.json.JsonFormatter",
                "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s",
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                "reserved_attrs": [*RESERVED_ATTRS, "tag"],
            },
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": str(settings.log_format),
                "filters": ["request_id"],
            }
        },
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {
            # The gateway writes its own access records, with the side and the route.
            "uvicorn.access": {"level": "WARNING", "propagate": False, "handlers": []},
            # Both servers hang handlers of their own on these; from here on there is one place and one form.
            "uvicorn": {"level": level, "propagate": True, "handlers": []},
            "uvicorn.error": {"level": level, "propagate": True, "handlers": []},
            "gunicorn.error": {"level": level, "propagate": True, "handlers": []},
            "elastic_transport": {"level": "WARNING"},
        },
    }


def configure(settings: Settings, fields: Fields | None = None) -> None:
    logging.config.dictConfig(configuration(settings, fields))
