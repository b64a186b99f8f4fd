"""The lines of an app's modules that import from Graft name the stand-ins; nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from graft.leaving.imports import imports_of_graft, rewritten

HERE = Path("x.py")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from graft import tasks\n", "from async_support import tasks\n"),
        ("from graft.fastapi import Legacy, Tasks  # ü\n", "from async_support.fastapi import Legacy, Tasks  # ü\n"),
        (
            "from  graft.tasks  import (\n    start,  # a\n)\n",
            "from async_support.tasks import (\n    start,  # a\n)\n",
        ),
        ("import graft\n", "import async_support as graft\n"),
        ("import graft.tasks as t\n", "import async_support.tasks as t\n"),
        ("import graft, graft.tasks\n", "import async_support as graft, async_support.tasks\n"),
        ("import os, graft.tasks; x = 1\n", "import os, async_support.tasks, async_support as graft; x = 1\n"),
        ("def f():\n    from graft import is_mirrored\n", "def f():\n    from async_support import is_mirrored\n"),
        ('"""from graft import x"""\nimport grafting\n', '"""from graft import x"""\nimport grafting\n'),
        ("é = 1; from graft import tasks; ü = 2", "é = 1; from async_support import tasks; ü = 2"),
    ],
)
def test_imports_name_the_stand_ins(before: str, after: str) -> None:
    assert rewritten(before, HERE) == after
    assert list(imports_of_graft(after, HERE)) == []


def test_what_has_no_stand_in_is_named() -> None:
    source = "from graft.tasks import start, Ledger\nimport graft.settings\nfrom graft import gateway\n"
    missing = [name for found in imports_of_graft(source, HERE) for name in found.missing]
    assert missing == ["graft.tasks.Ledger", "graft.settings", "graft.gateway"]
