"""Changes in words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from graft.operations.sentences import change_text
from graft.operations.state import Cause, Event, Transition
from graft.operations.switch import Gates, Switch, Trip
from graft.types import RouteKey

KEY = RouteKey("GET", "/a")
BEFORE = Switch(share=10, mirror=100, ignore=("body.took", "header.etag"), gates=Gates(parity=99.5), trip=Trip())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"share": 0.0, "hold": "wrong totals"}, "share 10 -> 0, held"),
        ({"gates": Gates(parity=99, confidence=90)}, "gates.parity 99.5 -> 99, gates.confidence 99 -> 90"),
        ({"gates": Gates(mirror=False)}, "gates.mirror true -> false"),
        ({"trip": Trip(least=9)}, "trip.least 5 -> 9"),
        ({"ladder": (10.0, 12.5, 100.0)}, "ladder [1, 10, 50, 100] -> [10, 12.5, 100]"),
        ({"bake": (600.0,)}, "bake [60] -> [600]"),
        ({"ignore": ("header.etag", "body.a", "body.b")}, "ignore + body.a + body.b - body.took"),
        ({"ignore": ("header.etag", "body.took")}, "ignore [body.took, header.etag] -> [header.etag, body.took]"),
        ({"hooks": False, "deadline": 2.5}, "hooks none -> false, deadline none -> 2.5"),
        ({"sticky": "user:user"}, "sticky auto -> user:user"),
    ],
)
def test_what_changed_is_said_and_nothing_else(changes: dict[str, object], text: str) -> None:
    """As it is made, and as the history's JSON has it."""
    settings = tuple(changes)
    made = Event.of(Transition(KEY, BEFORE, replace(BEFORE, **changes)), settings, Cause("edit", "alice"))  # type: ignore[arg-type]
    assert made is not None
    kept = Event.of_data(json.loads(json.dumps(made.as_data())))
    assert [change_text(event.before, event.after) for event in (made, kept)] == [text, text]
