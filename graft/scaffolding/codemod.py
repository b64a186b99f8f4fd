"""One view's function, rewritten as a native one.

What reads the request, the session and ``g`` is done where it stands, and so are JSON, redirects, URLs and pages. What
may block, or asks for more of Flask than a native route has, goes to a legacy thread as it is, one expression at a
time: ``await legacy.run(request, lambda: ...)``. Names are looked up in the view's own module, so ``jsonify`` is
Flask's only where it is Flask's. What is left bears a mark, and then the view goes on being called.
"""

from __future__ import annotations

import inspect
from typing import Any

import flask
import libcst as cst

from graft.flaskside.hooks import has_hooks
from graft.scaffolding.expressions import (
    ANSWERS,
    FLASKS,
    NOTHING,
    PURE,
    PURE_MODULES,
    RESPONSES,
    Inline,
    InThread,
    NeedsThread,
)
from graft.scaffolding.nodes import InnerNames, argument, assign, call_of, code_of, is_status
from graft.scaffolding.statements import Statements
from graft.scaffolding.translation import Translation
from graft.scaffolding.view import View

_OWN = frozenset(
    {"Request", "Response", "Route", "HTMLResponse", "HTTPException", "request", "routes", "flask_request"}
)
"""Names of the native module."""

_SIMPLE = frozenset({"int", "float", "path", "uuid", "str", "string"})
_ROUTES = frozenset({"route", "get", "post", "put", "patch", "delete"})
_FROM = {"HTMLResponse": "responses", "HTTPException": "exceptions"}


class ViewCodemod:
    """One view while it is translated."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.globals: dict[str, Any] = view.function.__globals__
        self.locals = set(view.function.__code__.co_varnames)
        self.marks: list[str] = []
        self.names: set[str] = set()
        self.flask_names: set[str] = set()
        self.starlette: set[str] = set()
        self.uses_g = False
        self.threads = 0
        self.from_thread: set[str] = set()
        """local variables whose methods may block: what they are was made in a thread"""
        self.responses: set[str] = set()
        """local variables that are responses of Starlette's"""

    def translated(self) -> Translation:
        module = cst.parse_module(self.view.source or "")
        module.visit(InnerNames(self.locals))
        function = next((each for each in module.body if isinstance(each, cst.FunctionDef)), None)
        if function is None:
            return Translation("", (), ("the view is no plain function: only those are translated",))
        self._look_at_decorators(function)
        body: Any = function.body.visit(Statements(self))
        rule = self.view.rule.rule
        if self.threads > 1 and not has_hooks(self.view.rule.app, rule):
            self.mark(
                "it goes to a thread more than once, and without hooks of the app each time has a context of its own"
            )
        prologue = [
            f'    {name} = request.path_params["{name}"]\n'
            for name, converter in self.view.parameters
            if self._is_simple(name, converter)
        ]
        given = {name for name, _ in self.view.parameters}
        prologue += [f"    {name} = {value!r}\n" for name, value in (rule.defaults or {}).items()]
        for param in (*function.params.params, *function.params.kwonly_params):
            if param.name.value not in {*given, *(rule.defaults or {})} and param.default is not None:
                prologue.append(f"    {param.name.value} = {code_of(self.convert(param.default))}\n")
        if self.uses_g:
            prologue.append("    g = request.state.legacy.g(request)\n")
        code = cst.Module(
            body=[function.with_changes(decorators=(), params=cst.Parameters(), body=body, returns=None)]
        ).code
        inside = (
            code.partition(":\n")[2]
            if isinstance(body, cst.IndentedBlock)
            else f"    {code.partition(':')[2].strip()}\n"
        )
        documentation = ""
        if function.get_docstring() is not None:  # stays the first line
            documentation, inside = _split_docstring(inside)
        head = f"async def {self.view.name}(request: Request) -> Response:\n"
        text = f"{head}{documentation}{''.join(prologue)}{inside}".rstrip()
        return Translation(text, tuple(self._imports()), tuple(dict.fromkeys(self.marks)))

    def mark(self, what: str) -> None:
        self.marks.append(what)

    def _is_simple(self, name: str, converter: str) -> bool:
        if converter not in _SIMPLE:
            self.mark(f"{name} has the app's own converter {converter}, which gives what Starlette does not know")
        return converter in _SIMPLE

    def _look_at_decorators(self, function: Any) -> None:
        for decorator in function.decorators:
            call = decorator.decorator
            called = call.func if isinstance(call, cst.Call) else call
            is_route = isinstance(called, cst.Attribute) and called.attr.value in _ROUTES
            if not is_route:
                code = code_of(call)
                self.mark(f"@{code} is the view's own: what it does has to be written into the native route")

    def _imports(self) -> list[str]:
        lines = [f"from starlette.{_FROM[name]} import {name}" for name in sorted(self.starlette)]
        flasks = [_renamed(name) for name in sorted(self.flask_names)]
        if flasks:
            lines.append(f"from flask import {', '.join(flasks)}")
        own: list[str] = []
        for name in sorted(self.names):
            found = self.globals[name]
            if inspect.ismodule(found):
                lines.append(f"import {found.__name__}" + (f" as {name}" if name != found.__name__ else ""))
            else:
                own.append(_renamed(name))
        if own:
            lines.append(f"from {self.view.module} import {', '.join(own)}")
        return lines

    # What a name is.

    def flask_name(self, node: Any) -> str | None:
        """What of Flask's a name or ``flask.x`` is, as ``jsonify``."""
        if isinstance(node, cst.Attribute) and isinstance(node.value, cst.Name):
            return node.attr.value if self.globals.get(node.value.value) is flask else None
        if not isinstance(node, cst.Name) or node.value in self.locals:
            return None
        found = self.globals.get(node.value, NOTHING)
        return next((name for name in FLASKS if found is getattr(flask, name)), None)

    def is_pure(self, node: Any) -> bool:
        """Whether a function asks nobody: some of Python's own, and exceptions, which only hold what they are given."""
        names: list[str] = []
        while isinstance(node, cst.Attribute):
            names.insert(0, node.attr.value)
            node = node.value
        if not isinstance(node, cst.Name) or node.value in self.locals:
            return False
        if node.value not in self.globals:
            return not names and node.value in PURE
        found = self.globals[node.value]
        if isinstance(found, type) and issubclass(found, BaseException):
            return not names
        module = found.__name__ if inspect.ismodule(found) else getattr(found, "__module__", None)
        return module in PURE_MODULES

    def is_local(self, name: str) -> bool:
        return name in self.locals or name not in self.globals

    def use(self, name: str) -> str:
        """How a name of the view's module is called in the native one: it goes along, or under another name where the
        native module has its own."""
        if name in self.locals or name not in self.globals:
            return name
        self.names.add(name)
        return f"flask_{name}" if name in _OWN else name

    # Where it runs.

    def needs_thread(self, node: Any) -> bool:
        """Whether it may block, or asks for more of Flask than a native route has."""
        look = NeedsThread(self)
        node.visit(look)
        return look.found

    def convert(self, node: Any) -> Any:
        """An expression, where it may be awaited."""
        if not self.needs_thread(node):
            return node.visit(Inline(self))
        name = self.flask_name(node.func) if isinstance(node, cst.Call) else None
        if name in ANSWERS and not any(arg.star for arg in node.args):
            args = [arg.with_changes(value=self.convert(arg.value)) for arg in node.args]
            return self.answer(name, node.with_changes(args=args))
        return self.in_thread(node)

    def in_thread(self, node: Any, around: str = "{}") -> Any:
        """``await legacy.run(request, lambda: ...)``; of a plain call the function and its arguments."""
        self.threads += 1
        if (
            around == "{}"
            and isinstance(node, cst.Call)
            and isinstance(node.func, cst.Name)
            and not self.is_local(node.func.value)
            and not any(self.needs_thread(arg.value) or arg.star for arg in node.args)
        ):
            args = [arg.with_changes(value=arg.value.visit(Inline(self))) for arg in node.args]
            function: Any = node.func.visit(InThread(self))
            return call_of("await request.state.legacy.run", [argument("request"), cst.Arg(function), *args])
        inner = code_of(node.visit(InThread(self)))
        if "\n" in inner and around == "{}":
            inner = f"({inner})"
        return cst.parse_expression(f"await request.state.legacy.run(request, lambda: {around.format(inner)})")

    def answer(self, name: str, call: Any) -> Any:
        """One of Flask's calls that make an answer or a URL; its arguments are converted already."""
        if name == "jsonify":
            return call_of("request.state.legacy.json", call.args)
        if name == "url_for":
            return call_of("request.state.legacy.url_for", [argument("request"), *call.args])
        if name == "render_template":
            return call_of("await request.state.legacy.render", [argument("request"), *call.args])
        self.flask_names.add("redirect")
        return call.with_changes(func=cst.Name("redirect"))

    def returned(self, value: Any) -> list[Any]:
        """The statements in the place of ``return value``."""
        status, headers = None, None
        if isinstance(value, cst.Tuple) and 2 <= len(value.elements) <= 3:
            found = [element.value for element in value.elements]
            rest = found[1:]
            status = next((each for each in rest if is_status(each)), None)
            headers = next((each for each in rest if isinstance(each, cst.Dict)), None)
            if len([each for each in (status, headers) if each is not None]) == len(rest):
                value = found[0]
            else:
                status = headers = None
        answer = self._answered(value, status if headers is None else None)
        if answer is None:
            whole = value if status is None and headers is None else cst.Tuple([cst.Element(e) for e in found])
            self.flask_names.add("make_response")
            return [cst.Return(self.in_thread(whole, "make_response({})"))]
        if isinstance(answer, tuple):  # with its status
            return [cst.Return(answer[0])]
        if status is None and headers is None:
            return [cst.Return(answer)]
        lines = [assign("answer", answer)]
        if status is not None:
            lines.append(assign("answer.status_code", self.convert(status)))
        if headers is not None:
            code = code_of(self.convert(headers))
            lines.append(cst.Expr(cst.parse_expression(f"answer.headers.update({code})")))
        return [*lines, cst.Return(cst.Name("answer"))]

    def _answered(self, value: Any, status: Any) -> Any:
        """A response of Starlette's, or of Flask's; a tuple where it has the status already; None where only Flask can
        tell what it is."""
        if isinstance(value, cst.Name) and value.value in self.responses:
            return value
        if isinstance(value, cst.Call) and self.flask_name(value.func) in RESPONSES:
            return self.convert(value)
        if self.view.rule.app.response_class is not flask.Response or self.needs_thread(value):
            return None
        if isinstance(value, (cst.SimpleString, cst.FormattedString, cst.ConcatenatedString)):
            if isinstance(value, cst.SimpleString) and "b" in value.prefix.lower():
                return None
            self.starlette.add("HTMLResponse")
            args = [cst.Arg(self.convert(value)), *([cst.Arg(self.convert(status))] if status is not None else [])]
            made = call_of("HTMLResponse", args)
            return (made,) if status is not None else made
        if isinstance(value, (cst.Dict, cst.List)):
            return call_of("request.state.legacy.json", [cst.Arg(self.convert(value))])
        return None


def _renamed(name: str) -> str:
    return f"{name} as flask_{name}" if name in _OWN else name


def _split_docstring(inside: str) -> tuple[str, str]:
    first = cst.parse_module("def f():\n" + inside).body[0]
    assert isinstance(first, cst.FunctionDef)
    assert isinstance(first.body, cst.IndentedBlock)
    shown = cst.Module(body=[cst.FunctionDef(cst.Name("f"), cst.Parameters(), cst.IndentedBlock(first.body.body[:1]))])
    documentation = shown.code.partition(":\n")[2]
    return documentation, inside[len(documentation) :] if inside.startswith(documentation) else inside
