"""``python -m tests.parity [APP...]`` compares and prints a table."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.parity.visits import APPS, compare


def main(names: list[str]) -> int:
    """The number of apps with differences."""
    apps = [app for app in APPS if not names or app.module in names]
    differing = 0
    print(f"{'app':44} {'stories':>7} {'answers':>7} {'differences':>11} {'seconds':>7}")
    for app in apps:
        with tempfile.TemporaryDirectory(prefix="parity-") as folder:
            outcome = compare(app, Path(folder))
        differing += bool(outcome.differences)
        counts = f"{len(app.stories):7} {outcome.answers:7} {len(outcome.differences):11} {outcome.seconds:7.1f}"
        print(f"{app.title:44} {counts}", flush=True)
        for line in outcome.differences:
            print(f"    {line}")
    return differing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
