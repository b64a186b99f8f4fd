"""The garbage collector and what lives as long as the worker: modules, routes, rules, templates.

A full collection looks through all of it: 40 ms for a Flask app of ordinary size, every few seconds under load, in
which no request of the worker moves. Frozen, it is left alone, and a collection takes as long as the garbage there is.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def frozen() -> Iterator[None]:
    """What is there when the worker begins to serve is nothing that the collector looks at until it ends."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
