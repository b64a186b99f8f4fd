"""The test that holds both sides of one route together, with the inputs that were recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable

from graft.operations.switch import READING_METHODS
from graft.recordings.exchange import Exchange
from graft.scaffolding.view import View

MOST = 20

_MADE_UP = {"int": "1", "float": "1.0", "uuid": "00000000-0000-4000-8000-000000000000", "path": "a/b"}


def targets_of(view: View, exchanges: Iterable[Exchange]) -> list[str]:
    """The first ones that were recorded; without any, one that the path's converters take."""
    recorded = [each.target for each in exchanges if each.unaskable is None and each.method == view.key.method]
    if recorded:
        return list(dict.fromkeys(recorded))[:MOST]
    path = view.key.path
    for name, converter in view.parameters:
        value = _MADE_UP.get(converter, "a")
        path = path.replace(f"{{{name}:{converter}}}", value).replace(f"{{{name}}}", value)
    return [path]


def contract_test(view: View, exchanges: Iterable[Exchange]) -> str | None:
    """None for a route that writes: a test of it needs data of its own."""
    if view.key.method not in READING_METHODS:
        return None
    targets = "".join(f"    {json.dumps(target, ensure_ascii=False)},\n" for target in targets_of(view, exchanges))
    return f'''"""{view.key}: the native route answers as the Flask view does. (made by graft scaffold)"""

import pytest

TARGETS = [
{targets}]


@pytest.mark.parametrize("target", TARGETS)
def test_{view.name}_answers_as_the_flask_view_does(assert_parity, target):
    assert_parity("{view.key.method}", target)
'''
