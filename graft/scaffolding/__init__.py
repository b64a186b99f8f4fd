"""Scaffolding: a native module that begins as the twin of a Flask view, and what helps to rewrite it.

view.py             one rule of the Flask app: its view, the view's source, where that stands
module.py           the native module, in Starlette, FastAPI or Quart
models.py           what JSON answers look like, inferred from recordings
contract.py         the test that holds both sides together
translation.py      the view's source as a native route, as far as there is one right translation
codemod.py          one function, by libcst: names, answers, what goes to a thread
statements.py       its statements
expressions.py      its expressions: which stay on the loop, which go to a legacy thread
nodes.py            pieces of source
"""
