from __future__ import annotations

import dataclasses
from pathlib import Path

from graft.operations.switch import Gates, Switch
from graft.operations.switches import parse

PAGE = (Path(__file__).parents[2] / "docs" / "promotion.md").read_text()


def test_every_setting_of_a_promotion_stands_there_with_its_default() -> None:
    for each in dataclasses.fields(Gates):
        default = str(each.default).removesuffix(".0").lower()
        assert f"| `gates.{each.name}` | `{default}` |" in PAGE, each.name
    switch = Switch()
    assert f"| `ladder` | `{[int(share) for share in switch.ladder]}` |" in PAGE
    assert f"| `bake` | `{switch.bake[0]:g}` |" in PAGE
    assert f"| `watch` | `{switch.watch:g}` |" in PAGE


def test_its_example_is_read() -> None:
    text = PAGE.split("```toml\n")[1].split("```")[0]
    switches = parse(text, Path("switches.toml"))
    [switch] = switches.values()
    assert switch.gates == Gates(parity=99.9, confidence=95, mirror=False)
    assert (switch.bake, switch.watch, switch.ladder) == ((600, 300), 3600, (1, 10, 50, 100))
