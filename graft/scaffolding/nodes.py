"""Pieces of source, by libcst: made, and looked into."""

from __future__ import annotations

from typing import Any

import libcst as cst


def code_of(node: cst.CSTNode) -> str:
    return cst.Module(body=[]).code_for_node(node)


def argument(name: str) -> Any:
    return cst.Arg(cst.Name(name))


def call_of(function: str, args: Any) -> Any:
    code = ", ".join(code_of(arg).rstrip().rstrip(",") for arg in args)
    return cst.parse_expression(f"{function}({code})")


def assign(target: str, value: Any) -> Any:
    made: Any = cst.parse_expression(target)
    return cst.Assign([cst.AssignTarget(made)], value)


def is_status(node: Any) -> bool:
    """``404``, or ``404 if gone else 200``."""
    return isinstance(node, cst.Integer) or (
        isinstance(node, cst.IfExp) and is_status(node.body) and is_status(node.orelse)
    )


def may_be_set(target: Any, responses: set[str]) -> bool:
    """Of a response its status and its headers, which both frameworks call alike; all of anything else."""
    if isinstance(target, cst.Subscript) and isinstance(target.value, cst.Attribute):
        owner = target.value.value
        return not (isinstance(owner, cst.Name) and owner.value in responses) or target.value.attr.value == "headers"
    if isinstance(target, cst.Attribute) and isinstance(target.value, cst.Name) and target.value.value in responses:
        return target.attr.value == "status_code"
    return True


def names_in(target: Any) -> list[str]:
    if isinstance(target, cst.Name):
        return [target.value]
    if isinstance(target, (cst.Tuple, cst.List)):
        return [name for element in target.elements for name in names_in(element.value)]
    return []


class InnerNames(cst.CSTVisitor):
    """Adds what comprehensions and lambdas call their own."""

    def __init__(self, names: set[str]) -> None:
        super().__init__()
        self._names = names

    def visit_CompFor(self, node: Any) -> None:
        self._names.update(names_in(node.target))

    def visit_Lambda(self, node: Any) -> None:
        self._names.update(param.name.value for param in node.params.params)
