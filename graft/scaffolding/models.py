"""What JSON answers look like, as classes: inferred from recordings by genson, written by datamodel-code-generator.

Both are an optional extra. The classes are a beginning: a field that was there in each recording is taken for required.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import Any

from graft.errors import GraftError
from graft.recordings.exchange import Exchange

EXTRA = "pip install libcst datamodel-code-generator"


class NoScaffoldExtra(GraftError):
    """genson, datamodel-code-generator or libcst is not installed."""


class Kind(StrEnum):
    PYDANTIC = "pydantic"
    TYPED_DICT = "typed dict"


@dataclass(frozen=True)
class Models:
    """``source`` has its imports at the top; ``answer`` is the type of the whole answer, ``Article`` or
    ``list[ArticleItem]``. ``samples`` answers were looked at."""

    source: str
    answer: str
    samples: int


def answers_of(exchanges: Iterable[Exchange]) -> list[object]:
    """The JSON answers that were a success."""
    found = []
    for exchange in exchanges:
        if 200 <= exchange.status < 300 and exchange.answer and "json" in exchange.answer_type:
            try:
                found.append(json.loads(exchange.answer))
            except ValueError:
                continue
    return [answer for answer in found if isinstance(answer, (dict, list)) and answer]


def infer(name: str, answers: list[object], kind: Kind) -> Models | None:
    """None where nothing was recorded that has fields. Raises NoScaffoldExtra."""
    class_name = "".join(part.title() for part in re.split(r"[^A-Za-z0-9]+", name) if part)
    of_items = bool(answers) and all(isinstance(answer, list) for answer in answers)
    found = [item for answer in answers if isinstance(answer, list) for item in answer] if of_items else answers
    samples = [sample for sample in found if isinstance(sample, dict) and sample]
    if not samples:
        return None
    class_name += "Item" if of_items else "Answer"
    source = _source(class_name, samples, kind)
    if f"class {class_name}(" not in source:
        return None
    return Models(source, f"list[{class_name}]" if of_items else class_name, len(answers))


def _source(class_name: str, samples: Sequence[object], kind: Kind) -> str:
    try:
        codegen: Any = import_module("datamodel_code_generator")
        genson: Any = import_module("genson")
    except ImportError:
        raise NoScaffoldExtra(f"No models: genson and datamodel-code-generator are not installed. {EXTRA}") from None
    builder = genson.SchemaBuilder()
    for sample in samples:
        builder.add_object(sample)
    pydantic, models = kind is Kind.PYDANTIC, codegen.DataModelType
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own defaults
        made = codegen.generate(
            builder.to_json(),
            input_file_type=codegen.InputFileType.JsonSchema,
            output_model_type=models.PydanticV2BaseModel if pydantic else models.TypingTypedDict,
            class_name=class_name,
            disable_timestamp=True,
            target_python_version=codegen.PythonVersion.PY_311,
        )
    lines = str(made).splitlines()
    start = next((number for number, line in enumerate(lines) if not line.startswith("#") and line.strip()), 0)
    return "\n".join(lines[start:]).replace("from __future__ import annotations\n", "").strip()
