"""Expressions of a view: which may stay on the loop, and which go to a legacy thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst
from werkzeug.local import LocalProxy

from graft.scaffolding.nodes import code_of

if TYPE_CHECKING:
    from graft.scaffolding.codemod import ViewCodemod

PURE = frozenset(
    {
        "abs",
        "all",
        "any",
        "bool",
        "bytes",
        "dict",
        "enumerate",
        "float",
        "frozenset",
        "int",
        "isinstance",
        "len",
        "list",
        "max",
        "min",
        "range",
        "repr",
        "reversed",
        "round",
        "set",
        "sorted",
        "str",
        "sum",
        "tuple",
        "zip",
    }
)
"""Built-in functions that ask nobody."""

PURE_MODULES = frozenset(
    {"base64", "collections", "datetime", "decimal", "html", "itertools", "json", "math", "re", "uuid"}
)
"""Modules of the standard library that ask nobody."""

FLASKS = ("request", "session", "g", "current_app", "jsonify", "abort", "redirect", "render_template", "url_for")
RESPONSES = frozenset({"jsonify", "redirect", "render_template"})
ANSWERS = RESPONSES | {"url_for"}
NOTHING = object()


def _args_of_request(view: ViewCodemod, node: Any) -> str | None:
    """``args`` of ``request.args``."""
    if isinstance(node, cst.Attribute) and view.flask_name(node.value) == "request":
        return str(node.attr.value)
    return None


def _method(view: ViewCodemod, call: Any) -> tuple[str, str] | None:
    """``("args", "get")`` of ``request.args.get(...)``."""
    if isinstance(call.func, cst.Attribute) and (what := _args_of_request(view, call.func.value)) is not None:
        return what, str(call.func.attr.value)
    return None


def _is_plain_get(call: Any) -> bool:
    """``get(name)`` or ``get(name, default)``."""
    names = [arg.keyword.value if arg.keyword is not None else None for arg in call.args]
    return names in ([None], [None, None], [None, "default"]) and not any(arg.star for arg in call.args)


class NeedsThread(cst.CSTVisitor):
    """Looks for what a native route can't do on the loop."""

    def __init__(self, view: ViewCodemod) -> None:
        self.view = view
        self.found = False

    def visit_Call(self, node: Any) -> bool:
        view = self.view
        name = view.flask_name(node.func)
        if name is not None:
            self.found |= name not in ("jsonify", "url_for", "redirect")
            if name == "render_template":
                self.found = True
            return True
        method = _method(view, node)
        if method is not None:
            self.found |= not self._is_known(method, node)
            for arg in node.args:
                arg.visit(self)
            return False
        function = node.func
        owner = function.value if isinstance(function, cst.Attribute) else None
        if isinstance(owner, cst.Name) and owner.value in view.responses:
            view.mark(f"{code_of(function)}: a response of Starlette's has other methods than one of Flask's")
        if isinstance(function, cst.Name):
            self.found |= not view.is_pure(function)
        elif isinstance(function, cst.Attribute):
            self.found |= not (view.is_pure(function) or self._may_be_called(function.value))
        else:
            self.found = True
        return True

    @staticmethod
    def _is_known(method: tuple[str, str], node: Any) -> bool:
        if method == ("args", "getlist"):
            return len(node.args) == 1 and node.args[0].keyword is None
        return method in (("args", "get"), ("headers", "get"), ("cookies", "get")) and _is_plain_get(node)

    def _may_be_called(self, owner: Any) -> bool:
        """Methods of the session, of ``g``, of texts, and of what was made here."""
        if self.view.flask_name(owner) in ("session", "g"):
            return True
        if isinstance(owner, (cst.SimpleString, cst.FormattedString, cst.Dict, cst.List, cst.Call)):
            return True  # the call in front is looked at for itself
        return (
            isinstance(owner, cst.Name) and self.view.is_local(owner.value) and owner.value not in self.view.from_thread
        )

    def visit_Attribute(self, node: Any) -> bool:
        what = _args_of_request(self.view, node)
        if what is not None:
            self.found |= what not in ("args", "method", "headers", "cookies")
            return False
        if self.view.flask_name(node) is not None:  # flask.x
            self.found |= self.view.flask_name(node) == "current_app"
            return False
        node.value.visit(self)  # and not the attribute's name
        return False

    def visit_Subscript(self, node: Any) -> bool:
        if _args_of_request(self.view, node.value) == "args":  # raises another exception
            self.found = True
        return True

    def visit_Arg(self, node: Any) -> bool:
        node.value.visit(self)  # and not its keyword
        return False

    def visit_Name(self, node: Any) -> None:
        view = self.view
        if node.value in view.locals:
            return
        name = view.flask_name(node)
        if name == "current_app" or (name == "request"):
            self.found = True  # handed on as a whole
        elif name is None and isinstance(view.globals.get(node.value), LocalProxy):
            self.found = True

    def visit_Lambda(self, node: Any) -> bool:
        self.found = True
        return False

    def visit_Yield(self, node: Any) -> bool:
        self.found = True
        return False


class _Names(cst.CSTTransformer):
    """Tells names from what only looks like one: an attribute's, a keyword's."""

    def __init__(self, view: ViewCodemod) -> None:
        super().__init__()
        self.view = view
        self._no_names: set[int] = set()

    def visit_Attribute(self, node: Any) -> bool:
        self._no_names.add(id(node.attr))
        return True

    def visit_Arg(self, node: Any) -> bool:
        self._no_names.add(id(node.keyword))
        return True

    def is_name(self, node: Any) -> bool:
        return id(node) not in self._no_names


class Inline(_Names):
    """An expression that stays on the loop."""

    def leave_Call(self, original: Any, updated: Any) -> Any:
        view = self.view
        name = view.flask_name(original.func)
        if name in ANSWERS:
            return view.answer(name, updated)
        if _method(view, original) == ("args", "get"):
            key = code_of(updated.args[0].value)
            default = code_of(updated.args[1].value) if updated.args[1:] else "None"
            return cst.parse_expression(f"(request.query_params.getlist({key}) or [{default}])[0]")
        return updated

    def leave_Attribute(self, original: Any, updated: Any) -> Any:
        what = _args_of_request(self.view, original)
        if what is not None:
            own = "query_params" if what == "args" else what
            return cst.parse_expression(f"request.{own}")
        if (name := self.view.flask_name(original)) is not None:
            return self._of_flask(name, updated)
        return updated

    def leave_Name(self, original: Any, updated: Any) -> Any:
        if not self.is_name(original):
            return updated
        name = self.view.flask_name(original)
        if name is not None:
            return self._of_flask(name, updated)
        return updated.with_changes(value=self.view.use(original.value))

    def _of_flask(self, name: str, updated: Any) -> Any:
        if name == "session":
            return cst.parse_expression("request.session")
        if name == "g":
            self.view.uses_g = True
            return cst.Name("g")
        return updated


class InThread(_Names):
    """An expression for a legacy thread: as it is, but for the name of Flask's request."""

    def leave_Name(self, original: Any, updated: Any) -> Any:
        if not self.is_name(original):
            return updated
        view = self.view
        name = view.flask_name(original)
        if name == "request":
            view.flask_names.add("request")
            return cst.Name("flask_request")
        if name == "g":
            view.uses_g = True
            return cst.Name("g")
        if name is not None and name == original.value:
            view.flask_names.add(name)
            return updated
        if original.value in view.responses:
            view.mark(f"{original.value} is a response of Starlette's here, and is handed on")
        return updated.with_changes(value=view.use(original.value))
