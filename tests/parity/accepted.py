"""The tests of Flask's own suite that pass as they are and not through the mount, each with the reason."""

from __future__ import annotations

ACCEPTED: dict[str, dict[str, str]] = {"flask": {}}
"""By suite and test, as in ``"tests.test_basic::test_session": "why"``. None of Flask 3.1.3's 489 is lost."""
