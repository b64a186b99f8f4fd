"""Random numbers of Graft's own: an app that seeds Python's generator gets its whole sequence, as without Graft."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

CHANCE = random.Random()
"""For any thread: each of its methods is one step of the generator or a few, under the interpreter's lock."""

# As the random module does for its own: workers that were forked from one process would all draw the same.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=CHANCE.seed)


@contextmanager
def nothing_drawn() -> Iterator[None]:
    """What a library draws inside from Python's generator is put back. For the start, before requests draw too."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
