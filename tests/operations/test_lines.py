from __future__ import annotations

import pytest

from graft.operations.lines import line_of


@pytest.mark.parametrize(
    ("text", "place", "line"),
    [
        ("a = 1\n\n[b]\nc = 2", ("b", "c"), 4),
        ("a = 1\n\n[b]\nc = 2", ("b", "gone"), 3),
        ("a = 1\n\n[b]\nc = 2", ("gone",), None),
        ("[broken", ("broken",), None),
        ("[b]\nc = { d = [\n1,\n2] } # here", ("b", "c"), 2),
        ('b = """\n\n"""', ("b",), 1),
    ],
)
def test_the_line_of_a_setting_or_of_its_table(text: str, place: tuple[str, ...], line: int | None) -> None:
    assert line_of(text, place) == line
