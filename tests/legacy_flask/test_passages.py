from __future__ import annotations

import textwrap

import pytest

from legacy_flask.passages import SUMMARY_LENGTH, TITLE_LENGTH, Kind, Passage, read


def passages(source: str) -> dict[str, Passage]:
    return {passage.name: passage for passage in read("m", textwrap.dedent(source).encode())}


def test_documented_public_things_are_passages() -> None:
    found = passages('''
        """The module."""
        def run(a, b: int = 1, *rest, c=None, **options) -> str:
            """Run it."""
        async def wait(x, /, *, y: float = 0.5):
            """Wait."""
        class Thing(Base):
            """A thing."""
            def __init__(self, name: str): ...
            def act(self, /, a): "Act."
            @classmethod
            def make(cls): "Make one."
            @staticmethod
            def check(value): "Check it."
            @property
            def size(self) -> int: "How large."
            class Inner:
                "Inside."
        def _private(): "No."
        def silent(): pass
    ''')
    assert {name: (p.kind, p.title) for name, p in found.items()} == {
        "m": (Kind.MODULE, "m"),
        "m.run": (Kind.FUNCTION, "m.run(a, b=1, *rest, c=None, **options)"),
        "m.wait": (Kind.FUNCTION, "m.wait(x, /, *, y=0.5)"),
        "m.Thing": (Kind.CLASS, "m.Thing(name)"),
        "m.Thing.act": (Kind.METHOD, "m.Thing.act(a)"),
        "m.Thing.make": (Kind.METHOD, "m.Thing.make()"),
        "m.Thing.check": (Kind.METHOD, "m.Thing.check(value)"),
        "m.Thing.size": (Kind.PROPERTY, "m.Thing.size"),
        "m.Thing.Inner": (Kind.CLASS, "m.Thing.Inner"),
    }
    assert found["m.run"].signature == "m.run(a, b: int = 1, *rest, c=None, **options) -> str"
    assert found["m.Thing.size"].signature == "m.Thing.size: int"
    assert (found["m.run"].line, found["m.run"].text) == (3, "Run it.")


def test_definitions_under_if_and_try_count_and_the_first_wins() -> None:
    found = passages("""
        if True:
            def a(): "One."
        else:
            def a(): "Two."
        try:
            def b(): "B."
        except ImportError:
            def c(): "C."
        else:
            def d(): "D."
    """)
    assert {name: passage.text for name, passage in found.items()} == {
        "m.a": "One.",
        "m.b": "B.",
        "m.c": "C.",
        "m.d": "D.",
    }


def test_overloads_and_setters_say_nothing_new() -> None:
    found = passages("""
        @t.overload
        def a(x: int): "Overload."
        def a(x): "Real."
        class C:
            @property
            def p(self): "Get."
            @p.setter
            def p(self, value): "Set."
            @cached_property
            def q(self): "Once."
    """)
    assert {name: passage.text for name, passage in found.items()} == {
        "m.a": "Real.",
        "m.C.p": "Get.",
        "m.C.q": "Once.",
    }


def test_a_class_may_be_described_by_its_desc() -> None:
    assert passages('class Bind:\n    name = "bind"\n    desc = """The socket to bind."""')["m.Bind"].text == (
        "The socket to bind."
    )
    assert passages("class Bind:\n    desc = 3") == {}


def test_a_long_signature_is_short_in_the_title_and_in_lines_in_full() -> None:
    arguments = ", ".join(f"argument_{number}: int = {number}" for number in range(20))
    (passage,) = passages(f"def run({arguments}) -> None:\n    'Run.'").values()
    assert len(passage.title) <= TITLE_LENGTH
    assert passage.title.endswith("…)")
    assert passage.signature.startswith("m.run(\n    argument_0: int = 0,\n    argument_1")
    assert passage.signature.endswith("\n) -> None")


def test_a_summary_is_the_first_paragraph_in_plain_text() -> None:
    text = "Run the ``app`` with\n    :class:`~flask.Flask` and `more`::\n\n    code\n\nMore."
    assert passages(f'def run():\n    """{text}"""')["m.run"].summary == "Run the app with flask.Flask and more"
    assert len(passages(f'"""{"long " * 200}"""')["m"].summary) <= SUMMARY_LENGTH


def test_text_that_cannot_be_stored_is_mended() -> None:
    assert passages('"""a\\0b\\ud800c"""')["m"].text == "ab?c"


@pytest.mark.parametrize("source", [b"def (", b"\0", b"# coding: nonsense\n", b"\xff\xfe", b"(" * 5000])
def test_what_is_no_python_is_refused(source: bytes) -> None:
    with pytest.raises(ValueError, match="m can't be parsed"):
        read("m", source)


@pytest.mark.parametrize("source", [b"", b"x = 1", b'"""   """', b"def f(): 'raw \\d escape'"])
def test_what_says_little_is_read_too(source: bytes) -> None:
    assert len(read("m", source)) <= 1
