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
    code_of,
)
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
        module.visit(_InnerNames(self.locals))
        function = next((each for each in module.body if isinstance(each, cst.FunctionDef)), None)
        if function is None:
            return Translation("", (), ("the view is no plain function: only those are translated",))
        self._look_at_decorators(function)
        body: Any = function.body.visit(_Statements(self))
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
            return _call("await request.state.legacy.run", [_plain("request"), cst.Arg(function), *args])
        inner = code_of(node.visit(InThread(self)))
        if "\n" in inner and around == "{}":
            inner = f"({inner})"
        return cst.parse_expression(f"await request.state.legacy.run(request, lambda: {around.format(inner)})")

    def answer(self, name: str, call: Any) -> Any:
        """One of Flask's calls that make an answer or a URL; its arguments are converted already."""
        if name == "jsonify":
            return _call("request.state.legacy.json", call.args)
        if name == "url_for":
            return _call("request.state.legacy.url_for", [_plain("request"), *call.args])
        if name == "render_template":
            return _call("await request.state.legacy.render", [_plain("request"), *call.args])
        self.flask_names.add("redirect")
        return call.with_changes(func=cst.Name("redirect"))

    def returned(self, value: Any) -> list[Any]:
        """The statements in the place of ``return value``."""
        status, headers = None, None
        if isinstance(value, cst.Tuple) and 2 <= len(value.elements) <= 3:
            found = [element.value for element in value.elements]
            rest = found[1:]
            status = next((each for each in rest if _is_status(each)), None)
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
        lines = [_assign("answer", answer)]
        if status is not None:
            lines.append(_assign("answer.status_code", self.convert(status)))
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
            made = _call("HTMLResponse", args)
            return (made,) if status is not None else made
        if isinstance(value, (cst.Dict, cst.List)):
            return _call("request.state.legacy.json", [cst.Arg(self.convert(value))])
        return None


def _is_status(node: Any) -> bool:
    """``404``, or ``404 if gone else 200``."""
    return isinstance(node, cst.Integer) or (
        isinstance(node, cst.IfExp) and _is_status(node.body) and _is_status(node.orelse)
    )


def _renamed(name: str) -> str:
    return f"{name} as flask_{name}" if name in _OWN else name


def _plain(name: str) -> Any:
    return cst.Arg(cst.Name(name))


def _call(function: str, args: Any) -> Any:
    code = ", ".join(code_of(arg).rstrip().rstrip(",") for arg in args)
    return cst.parse_expression(f"{function}({code})")


def _assign(target: str, value: Any) -> Any:
    made: Any = cst.parse_expression(target)
    return cst.Assign([cst.AssignTarget(made)], value)


def _split_docstring(inside: str) -> tuple[str, str]:
    first = cst.parse_module("def f():\n" + inside).body[0]
    assert isinstance(first, cst.FunctionDef)
    assert isinstance(first.body, cst.IndentedBlock)
    shown = cst.Module(body=[cst.FunctionDef(cst.Name("f"), cst.Parameters(), cst.IndentedBlock(first.body.body[:1]))])
    documentation = shown.code.partition(":\n")[2]
    return documentation, inside[len(documentation) :] if inside.startswith(documentation) else inside


class _Statements(cst.CSTTransformer):
    """The body of the view."""

    def __init__(self, view: ViewCodemod) -> None:
        self.view = view

    def visit_SimpleStatementLine(self, node: Any) -> bool:
        return False

    def leave_SimpleStatementLine(self, original: Any, updated: Any) -> Any:
        lines: list[Any] = []
        for small in original.body:
            lines += self._small(small)
        first, *rest = [cst.SimpleStatementLine([line]) for line in lines]
        first = first.with_changes(leading_lines=original.leading_lines)
        last = rest[-1] if rest else first
        last = last.with_changes(trailing_whitespace=original.trailing_whitespace)
        return cst.FlattenSentinel([*([first] if rest else []), *rest[:-1], last])

    def visit_SimpleStatementSuite(self, node: Any) -> bool:
        return False

    def leave_SimpleStatementSuite(self, original: Any, updated: Any) -> Any:
        """``if gone: abort(404)``, all in one line."""
        return updated.with_changes(body=[line for small in original.body for line in self._small(small)])

    def _small(self, node: Any) -> list[Any]:
        view = self.view
        if isinstance(node, cst.Return):
            return view.returned(node.value) if node.value is not None else self._left(node, "it returns nothing")
        if isinstance(node, cst.Expr):
            if isinstance(node.value, cst.SimpleString):  # the documentation
                return [node]
            if isinstance(node.value, cst.Call) and view.flask_name(node.value.func) == "abort":
                return [self._raised(node.value)]
            return [node.with_changes(value=view.convert(node.value))]
        if isinstance(node, (cst.Assign, cst.AnnAssign, cst.AugAssign)) and node.value is not None:
            return [self._assigned(node)]
        if isinstance(node, cst.Raise) and node.exc is not None:
            return [node.with_changes(exc=view.convert(node.exc))]
        if isinstance(node, cst.Assert):
            return [node.with_changes(test=view.convert(node.test))]
        if isinstance(node, cst.Del) and not view.needs_thread(node.target):
            return [node.with_changes(target=node.target.visit(Inline(view)))]
        if isinstance(node, cst.ImportFrom) and node.relative:
            return self._left(node, "an import by dots leads elsewhere from the native module")
        if isinstance(node, (cst.Pass, cst.Break, cst.Continue, cst.Import, cst.ImportFrom, cst.Raise)):
            return [node]
        return self._left(node, f"{type(node).__name__.lower()} is left as it was")

    def _left(self, node: Any, what: str) -> list[Any]:
        self.view.mark(what)
        return [node]

    def _assigned(self, node: Any) -> Any:
        view = self.view
        is_response = isinstance(node.value, cst.Call) and view.flask_name(node.value.func) in (
            "jsonify",
            "redirect",
        )
        goes = view.needs_thread(node.value)
        value = view.convert(node.value)
        targets = [each.target for each in node.targets] if isinstance(node, cst.Assign) else [node.target]
        for target in targets:
            for name in _names_in(target):
                (view.from_thread.add if goes else view.from_thread.discard)(name)
                (view.responses.add if is_response else view.responses.discard)(name)
            if view.needs_thread(target):
                view.mark("what it assigns to is another object's: that may block")
            if not _may_be_set(target, view.responses):
                view.mark("a response of Starlette's has other attributes than one of Flask's")
        if isinstance(node, cst.Assign):
            changed = [each.with_changes(target=each.target.visit(Inline(view))) for each in node.targets]
            return node.with_changes(targets=changed, value=value)
        return node.with_changes(target=node.target.visit(Inline(view)), value=value)

    def _raised(self, call: Any) -> Any:
        """``abort(404, "why")`` as an exception of Starlette's; any other as it is, in a thread."""
        view = self.view
        names = [arg.keyword.value if arg.keyword is not None else None for arg in call.args]
        is_plain = names in ([None], [None, None], [None, "description"]) and isinstance(
            call.args[0].value, cst.Integer
        )
        if not is_plain or any(view.needs_thread(arg.value) for arg in call.args):
            return cst.Expr(view.in_thread(call))
        view.starlette.add("HTTPException")
        args = [cst.Arg(arg.value.visit(Inline(view))) for arg in call.args]
        return cst.Raise(_call("HTTPException", args))

    def leave_If(self, original: Any, updated: Any) -> Any:
        return updated.with_changes(test=self.view.convert(original.test))

    def leave_While(self, original: Any, updated: Any) -> Any:
        return updated.with_changes(test=self.view.convert(original.test))

    def leave_For(self, original: Any, updated: Any) -> Any:
        view = self.view
        if view.needs_thread(original.iter):
            return updated.with_changes(iter=view.in_thread(original.iter, "list({})"))
        return updated.with_changes(iter=view.convert(original.iter))

    def visit_For(self, node: Any) -> None:
        if self.view.needs_thread(node.iter):
            self.view.from_thread.update(_names_in(node.target))

    def leave_With(self, original: Any, updated: Any) -> Any:
        self.view.mark("with: what it enters and leaves may block")
        return updated

    def visit_FunctionDef(self, node: Any) -> bool:
        self.view.mark(f"the function {node.name.value} inside it is left as it was")
        return False

    def leave_Match(self, original: Any, updated: Any) -> Any:
        self.view.mark("match is left as it was")
        return updated

    def leave_ExceptHandler(self, original: Any, updated: Any) -> Any:
        if original.type is not None:
            return updated.with_changes(type=original.type.visit(Inline(self.view)))
        return updated


class _InnerNames(cst.CSTVisitor):
    """Adds what comprehensions and lambdas call their own."""

    def __init__(self, names: set[str]) -> None:
        super().__init__()
        self._names = names

    def visit_CompFor(self, node: Any) -> None:
        self._names.update(_names_in(node.target))

    def visit_Lambda(self, node: Any) -> None:
        self._names.update(param.name.value for param in node.params.params)


def _may_be_set(target: Any, responses: set[str]) -> bool:
    """Of a response its status and its headers, which both frameworks call alike; all of anything else."""
    if isinstance(target, cst.Subscript) and isinstance(target.value, cst.Attribute):
        owner = target.value.value
        return not (isinstance(owner, cst.Name) and owner.value in responses) or target.value.attr.value == "headers"
    if isinstance(target, cst.Attribute) and isinstance(target.value, cst.Name) and target.value.value in responses:
        return target.attr.value == "status_code"
    return True


def _names_in(target: Any) -> list[str]:
    if isinstance(target, cst.Name):
        return [target.value]
    if isinstance(target, (cst.Tuple, cst.List)):
        return [name for element in target.elements for name in _names_in(element.value)]
    return []
