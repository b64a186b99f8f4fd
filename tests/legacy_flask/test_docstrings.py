from __future__ import annotations

import pytest

from legacy_flask.docstrings import to_html


def html(text: str) -> str:
    return str(to_html(text))


def test_paragraphs_and_inline_markup() -> None:
    assert html("One\nline.\n\nA ``literal``, a :class:`~flask.Flask`, a `name` and **more**.") == (
        "<p>One line.</p>\n<p>A <code>literal</code>, a <code>flask.Flask</code>, a <code>name</code> and "
        "<strong>more</strong>.</p>"
    )


def test_everything_is_escaped() -> None:
    written = html("<b>`<script>`</b> & ``<i>``\n\n::\n\n    <pre>\n\n- <li>\n\n:param <x>: <y>\n\n.. note:: <z>")
    for tag in ("<b>", "<script>", "<i>", "<pre>\n", "<li><li>", "<x>", "<y>", "<z>"):
        assert tag not in written


def test_code_after_two_colons() -> None:
    assert html("For example::\n\n    a = 1\n\n    b = 2\n\nDone.") == (
        "<p>For example:</p>\n<pre><code>a = 1\n\nb = 2</code></pre>\n<p>Done.</p>"
    )


def test_two_colons_alone_are_not_shown() -> None:
    assert html("::\n\n    a = 1") == "\n<pre><code>a = 1</code></pre>"


@pytest.mark.parametrize(
    "text",
    [
        "```python\na = 1\n\nb\n```",
        ".. code-block:: python\n\n    a = 1\n\n    b",
        ".. code::\n    :linenos:\n\n    a = 1\n\n    b",
    ],
)
def test_code_blocks(text: str) -> None:
    assert html(text) == "<pre><code>a = 1\n\nb</code></pre>"


def test_a_fence_that_is_never_closed_ends_with_the_text() -> None:
    assert html("```\na") == "<pre><code>a</code></pre>"


def test_doctests_and_indented_code() -> None:
    assert html(">>> 1 + 1\n2") == "<pre><code>&gt;&gt;&gt; 1 + 1\n2</code></pre>"
    assert html("Use:\n\n    import flask\n    app = flask.Flask(__name__)") == (
        "<p>Use:</p>\n<pre><code>import flask\napp = flask.Flask(__name__)</code></pre>"
    )


def test_indented_prose_stays_prose() -> None:
    assert "<pre>" not in html("Args:\n\n    The name of it. It may be empty.")


def test_lists() -> None:
    assert html("These:\n- one\n  goes on\n- two\nDone.") == (
        "<p>These:</p><ul><li>one goes on</li><li>two</li></ul><p>Done.</p>"
    )
    assert html("1. one\n2. two") == "<ul><li>one</li><li>two</li></ul>"


def test_fields() -> None:
    assert html(":param name: the\n    name\n:return: a ``Flask``\n:rtype: Flask\n@param x the x") == (
        "<dl><div><dt>name</dt><dd>the name</dd></div><div><dt>returns</dt><dd>a <code>Flask</code></dd></div>"
        "<div><dt>returns</dt><dd>Flask</dd></div><div><dt>param</dt><dd>x the x</dd></div></dl>"
    )


def test_headings() -> None:
    assert html("Usage\n=====\n\nText.") == "<h3>Usage</h3>\n<p>Text.</p>"


def test_notes() -> None:
    assert html(".. versionadded:: 0.7\n   By us.") == (
        '<aside class="note versionadded"><strong>Added in 0.7</strong><p>By us.</p></aside>'
    )
    assert html(".. note:: Take\n   care.") == (
        '<aside class="note note"><strong>Note</strong><p>Take care.</p></aside>'
    )


def test_other_directives_keep_their_text() -> None:
    assert html(".. math:: a\n\n   b") == "<pre><code>a\nb</code></pre>"
    assert html(".. module:: flask") == ""


def test_links_lead_to_the_web_only() -> None:
    assert html("See https://example.org/a. Or `the page <https://example.org/b>`_.") == (
        '<p>See <a href="https://example.org/a" rel="noreferrer">https://example.org/a</a>. '
        'Or <a href="https://example.org/b" rel="noreferrer">the page</a>.</p>'
    )
    assert "<a" not in html("`x <javascript:alert(1)>`_ javascript:alert(1)")


@pytest.mark.parametrize(
    "text", ["", "\n\n", "::", "```", "..", ".. note::", ":", "- ", "*" * 5000, "`" * 5000, "=" * 9]
)
def test_strange_text_does_no_harm(text: str) -> None:
    to_html(text)
