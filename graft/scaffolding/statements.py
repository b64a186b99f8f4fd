"""The statements of a view, rewritten one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

from graft.scaffolding.expressions import Inline
from graft.scaffolding.nodes import call_of, may_be_set, names_in

if TYPE_CHECKING:
    from graft.scaffolding.codemod import ViewCodemod


class Statements(cst.CSTTransformer):
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
            for name in names_in(target):
                (view.from_thread.add if goes else view.from_thread.discard)(name)
                (view.responses.add if is_response else view.responses.discard)(name)
            if view.needs_thread(target):
                view.mark("what it assigns to is another object's: that may block")
            if not may_be_set(target, view.responses):
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
        return cst.Raise(call_of("HTTPException", args))

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
            self.view.from_thread.update(names_in(node.target))

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
