"""All shapes that bugs are planted into: the modelled ones, and those of recorded answers."""

from __future__ import annotations

from tests.planted.recorded import RECORDED
from tests.planted.shapes import MODELLED, Shape

SHAPES: dict[str, Shape] = {**MODELLED, **RECORDED}
