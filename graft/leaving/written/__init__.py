"""What native routes had from Graft, in plain Starlette. Written once by ``graft leave``; it is this project's own now.

``is_mirrored`` is there for code that asks: nothing is mirrored any more.
"""

from __future__ import annotations


def is_mirrored() -> bool:
    return False
