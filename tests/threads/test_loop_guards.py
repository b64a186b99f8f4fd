from __future__ import annotations

from graft.threads.loop_guards import subclasses


def test_a_class_that_will_not_be_compared_is_no_obstacle() -> None:
    """As some of typing's on Python 3.14, which warn."""

    class Meta(type):
        def __eq__(cls, other: object) -> bool:
            raise RuntimeError("not to be compared")

        def __hash__(cls) -> int:
            return 7

    class Base:
        pass

    kinds = [Meta(name, (Base,), {}) for name in ("One", "Two")]
    assert [id(kind) for kind in subclasses(Base)] == [id(kind) for kind in kinds]
