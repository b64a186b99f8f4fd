"""The indices of a fleet: what they are called and how they are mapped. It stands in deploy/elasticsearch too, for
those who make them themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SWITCHES = "graft-fleet-switches"
LEASES = "graft-fleet-leases"
SERVERS = "graft-fleet-servers"
FAILURES = "graft-fleet-failures"
HISTORY = "graft-fleet-history"
"""Followed by the month: what is old goes with its index."""

SETTINGS = {"number_of_shards": 1, "auto_expand_replicas": "0-2"}
MAPPINGS: Mapping[str, Mapping[str, Any]] = {
    SWITCHES: {
        "dynamic": False,
        "properties": {"fleet": {"type": "keyword"}, "revision": {"type": "long"}, "at": {"type": "date"}},
    },
    LEASES: {
        "dynamic": False,
        "properties": {"fleet": {"type": "keyword"}, "name": {"type": "keyword"}, "host": {"type": "keyword"}},
    },
    SERVERS: {
        "dynamic": False,
        "properties": {"fleet": {"type": "keyword"}, "host": {"type": "keyword"}, "at": {"type": "date"}},
    },
    FAILURES: {
        "dynamic": False,
        "properties": {"fleet": {"type": "keyword"}, "route": {"type": "keyword"}, "at": {"type": "date"}},
    },
    HISTORY: {
        "dynamic": False,
        "properties": {
            "fleet": {"type": "keyword"},
            "id": {"type": "keyword"},
            "route": {"type": "keyword"},
            "operation": {"type": "keyword"},
            "by": {"type": "keyword"},
            "host": {"type": "keyword"},
            "at": {"type": "date"},
            "revision": {"type": "long"},
            "number": {"type": "integer"},
        },
    },
}

PAST = "graft-fleet-past"
"""What aliases of the switches' index begin with: ``graft-fleet-past.shop.9f86d081.42`` is there when revision 42 of
the fleet is no longer its newest. It is what hosts wait for."""


def past(fleet: str, id: str, revision: int) -> str:
    """The alias that says so of ``revision`` of the fleet that was begun with ``id``."""
    return f"{PAST}.{fleet}.{id[:8]}.{revision}"
