"""Fixtures that every test may use. Parts that are programs of their own live in tests/parts/."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
