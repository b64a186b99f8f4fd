"""docs/switches.md has every setting of a switch, with its default."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from graft.operations.switch import Gates, Switch, Trip
from graft.operations.switches import parse

PAGE = (Path(__file__).parents[2] / "docs/switches.md").read_text()
ROWS = {
    name: [cell.strip() for cell in line.split("|")[2:-1]]
    for line in PAGE.splitlines()
    if line.startswith("| `")
    for name in re.findall(r"`(\w+)`", line.split("|")[1])
}


def test_it_has_every_setting_and_no_other() -> None:
    assert sorted(ROWS) == sorted(field.name for field in dataclasses.fields(Switch))


def test_it_has_every_part_of_a_setting_that_has_parts() -> None:
    for name, parts in (("trip", Trip), ("gates", Gates)):
        text = " ".join(ROWS[name])
        assert [part.name for part in dataclasses.fields(parts) if not re.search(rf"\b{part.name}\b", text)] == []


@pytest.mark.parametrize("name", [name for name, cells in ROWS.items() if re.fullmatch(r"`[^`]+`", cells[0])])
def test_its_default_is_the_one_that_holds(name: str, tmp_path: Path) -> None:
    """Written out, it makes the same switch as left out."""
    default = ROWS[name][0].strip("`")
    tomllib.loads(f"x = {default}")
    written, left_out = (
        parse(f'["GET /a"]\nshare = 0\n{line}', tmp_path / "switches.toml")
        for line in (f"{name} = {default}" if name != "share" else "", "")
    )
    assert dict(written) == dict(left_out)


def test_its_example_is_a_good_file(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(parse(example, tmp_path / "switches.toml")) == 3
