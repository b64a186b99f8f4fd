from __future__ import annotations

from legacy_flask.raw_html import replaced


def test_html_becomes_the_text_it_stands_for() -> None:
    text = """Before.

.. raw:: html

  <p>Add <code>fields</code>
  &amp; more.</p>
  <ul><li><p>one</p></li><li>two <a href="x">link</a></li></ul>
  <pre><code>GET /
    {&quot;a&quot;: 1}
  </code></pre>
  <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>

After."""
    assert replaced(text) == (
        'Before.\n\nAdd ``fields`` & more.\n\n- one\n- two link\n\n```\nGET /\n    {"a": 1}\n```\n\n'
        "- a | b\n- 1 | 2\n\nAfter."
    )


def test_other_text_is_left_alone() -> None:
    assert replaced("a <b> c\n\n    <p>") == "a <b> c\n\n    <p>"


def test_html_that_is_cut_off_is_read_as_far_as_it_goes() -> None:
    assert replaced(".. raw:: html\n\n  <p>One <b>two").strip() == "One **two"
