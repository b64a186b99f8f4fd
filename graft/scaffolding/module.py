"""The native module of one route, in Starlette, FastAPI or Quart: it calls the Flask view until it is rewritten."""

from __future__ import annotations

import re
import textwrap
from enum import StrEnum

from graft.scaffolding.models import Kind, Models
from graft.scaffolding.translation import Translation
from graft.scaffolding.view import View


class Framework(StrEnum):
    STARLETTE = "starlette"
    FASTAPI = "fastapi"
    QUART = "quart"

    @property
    def models(self) -> Kind:
        return Kind.PYDANTIC if self is Framework.FASTAPI else Kind.TYPED_DICT


def module_text(
    view: View, framework: Framework, models: Models | None = None, translation: Translation | None = None
) -> str:
    """The whole file."""
    write = {
        Framework.STARLETTE: _starlette,
        Framework.FASTAPI: _fastapi,
        Framework.QUART: _quart,
    }[framework]
    imports, body = write(view, models, translation if translation is not None and translation.is_whole else None)
    head = f"{_docstring(view, translation)}\n\n{_imports(imports, models)}"
    if models is not None:
        head += f"\n\n\n{_classes(models)}"
    gap = "\n\n" if body.startswith(("router", "blueprint")) and models is None else "\n\n\n"
    return f"{head}{gap}{body}{_guide(view, translation)}"


def _docstring(view: View, translation: Translation | None) -> str:
    if translation is not None and translation.is_whole:
        what = f"Translated from the Flask view {view.rule.endpoint} ({view.place}) by graft scaffold --translate."
    else:
        what = (
            f"It answers what the Flask view {view.rule.endpoint} ({view.place}) answers, because it calls it: "
            "legacy.view runs it in a thread, in the app's request context. Rewrite it from here; the view's source "
            "stands below."
        )
    check = f"`graft verify '{view.key}'` says whether it still answers as before."
    return '"""' + textwrap.fill(f"{view.key}. {what}", 117).lstrip() + f"\n\n{check}\n" + '"""'


def _starlette(view: View, models: Models | None, translation: Translation | None) -> tuple[list[str], str]:
    methods = "" if view.key.method == "GET" else f', methods=["{view.key.method}"]'
    imports = [
        "from starlette.requests import Request",
        "from starlette.responses import Response",
        "from starlette.routing import Route",
    ]
    route = f'routes = [Route("{view.path}", {view.name}{methods})]'
    if translation is not None:
        return [*imports, *translation.imports], f"{translation.function}\n\n\n{route}"
    note = f"    # {_a(models.answer)} by {_plural(models.samples)}.\n" if models else ""
    return (
        imports,
        f"async def {view.name}(request: Request) -> Response:\n{note}    return await {_VIEW}\n\n\n{route}",
    )


_VIEW = "request.state.legacy.view(request)"


def _fastapi(view: View, models: Models | None, translation: Translation | None) -> tuple[list[str], str]:
    described = f", responses={{200: {{'model': {models.answer}}}}}".replace("'", '"') if models else ""
    decorator = f'@router.{view.key.method.lower()}("{view.path}", response_model=None{described})'
    imports = ["from fastapi import APIRouter", "from starlette.responses import Response"]
    if translation is not None:
        imports += ["from starlette.requests import Request", *translation.imports]
        body = f"{decorator}\n{translation.function}"
    else:
        imports.append("from graft.fastapi import Legacy")
        body = f"{decorator}\nasync def {view.name}(legacy: Legacy) -> Response:\n    return await legacy.view()"
    return imports, f"router = APIRouter()\n\n\n{body}"


def _quart(view: View, models: Models | None, translation: Translation | None) -> tuple[list[str], str]:
    rule = re.sub(r"\{([^}:]*)(?::([^}]*))?\}", lambda f: f"<{f[2]}:{f[1]}>" if f[2] else f"<{f[1]}>", view.path)
    names = ", ".join(name for name, _ in view.parameters)
    imports = [
        "from quart import Blueprint, Response, request",
        "from starlette.requests import HTTPConnection",
        "from werkzeug.datastructures import Headers",
    ]
    body = f'''blueprint = Blueprint("{view.name}", __name__)


@blueprint.route("{rule}", methods=["{view.key.method}"])
async def {view.name}({names}) -> Response:
    connection = HTTPConnection(request.scope)
    answer = await connection.state.legacy.view(connection, whole=True)
    pairs = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in answer.raw_headers]
    response = Response(answer.body, answer.status_code)
    response.headers = Headers(pairs)  # these, and none of Quart's own
    return response'''
    return imports, body


def _imports(lines: list[str], models: Models | None) -> str:
    """As isort has them: what comes with the models stands among them."""
    of_models = [line for line in models.source.splitlines() if _IMPORT(line)] if models else []
    found = sorted(dict.fromkeys([*lines, *of_models]), key=lambda line: line.split()[1].lower())
    standard = [line for line in found if line.split()[1].partition(".")[0] in _STANDARD]
    ours = [line for line in found if line.split()[1].startswith("graft")]
    others = [line for line in found if line not in standard and line not in ours]
    blocks = [["from __future__ import annotations"] if models else [], standard, others, ours]
    return "\n\n".join("\n".join(block) for block in blocks if block)


_IMPORT = re.compile(r"(?:from|import) ").match
_STANDARD = frozenset({"typing", "datetime", "uuid", "decimal", "enum"})


def _classes(models: Models) -> str:
    lines = [line for line in models.source.splitlines() if not _IMPORT(line)]
    return "\n".join(lines).strip("\n")


def _guide(view: View, translation: Translation | None) -> str:
    """The sources to go by, as comments."""
    told = ""
    if translation is not None and not translation.is_whole:
        told += "\n\n\n# As a native route, as far as there is one right translation:\n#\n"
        marks = [f"# left: {mark}" for mark in translation.marks]
        told += _commented("\n".join([*marks, *translation.imports, "", translation.function]).rstrip())
    if view.source is not None:
        told += f"\n\n\n# The Flask view, {view.place}:\n#\n{_commented(view.source)}"
    return f"{told}\n"


def _commented(text: str) -> str:
    return "\n".join(f"#     {line}".rstrip() for line in text.splitlines())


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _plural(number: int) -> str:
    return "one recorded answer" if number == 1 else f"{number} recorded answers"
