"""SQL: what a statement changes, told from its words. The database is not asked, and functions that a SELECT calls are
taken for harmless but for a few that are known."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from graft.mirroring.fences.words import words

_UNREAD = re.compile(
    r"""
      '(?:[^']|'')*'                # texts
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$  # PostgreSQL's
    | --[^\n]*
    | /\*(?!!).*?\*/                # but not MySQL's /*! ... */, which runs
    """,
    re.VERBOSE | re.DOTALL,
)
_READS = words(
    """select values table show describe desc explain with pragma use set reset begin start commit end rollback abort
    savepoint release declare fetch move close deallocate discard listen unlisten attach detach"""
)
_TOLD_WORDS = words("into from table index view sequence trigger schema database function procedure")
_SKIPPED_WORDS = _TOLD_WORDS | words(
    """or ignore replace abort fail rollback low_priority delayed quick only temp temporary if not exists unique
    materialized type role user extension concurrently"""
)
_NAME = r"""(?:"[^"]*"|`[^`]*`|\[[^\]]*\]|[\w$]+)"""
_WORD = re.compile(rf"{_NAME}(?:\.{_NAME})*")
_INSIDE = re.compile(
    r"(?i)\b(insert\s+into|replace\s+into|update\s+(?:only\s+)?[\w$.\"`\[\]]+(?:\s+(?:as\s+)?\w+)?\s+set|delete\s+from|merge\s+into)\b"
)
_LOCKS = re.compile(r"(?i)\bfor\s+(?:no\s+key\s+)?update\b|\bfor\s+(?:key\s+)?share\b|\block\s+in\s+share\s+mode\b")
_INTO = re.compile(r"(?i)\binto\s+(?!@)[\w\"`]+")
_FUNCTIONS = re.compile(
    r"""(?ix)\b(nextval|setval|pg_notify|pg_(?:try_)?advisory_(?:xact_)?lock\w*|lo_(?:import|unlink|put|create|from_bytea)|dblink_exec
    |pg_terminate_backend|pg_cancel_backend|get_lock|release_lock|load_extension)\s*\("""
)
_PRAGMAS = re.compile(r"(?i)pragma\s+(?:\w+\.)?(user_version|application_id|schema_version|writable_schema)\s*[=(]")


def text_of(statement: Any, context: Any = None) -> str:
    """A statement as drivers take it: a text, bytes, psycopg's composed ones."""
    if isinstance(statement, str):
        return statement
    if isinstance(statement, (bytes, bytearray)):
        return bytes(statement).decode("utf-8", "replace")
    as_string = getattr(statement, "as_string", None)
    if as_string is None:
        return str(statement)
    try:
        return str(as_string(context))
    except Exception:  # one that only the driver can put together
        return ""


@lru_cache(1024)
def change(sql: str) -> str | None:
    """``INSERT INTO articles``: what the first statement of ``sql`` that changes anything does; None if none does.

    What it does not know is taken for a change. A statement that can't be read is one.
    """
    for statement in _UNREAD.sub(" '' ", sql).split(";"):
        if found := _change(statement.strip().lstrip("(").strip()):
            return found
    return None if sql.strip() else "run a statement"


def _change(statement: str) -> str | None:
    if not statement or statement == "''":
        return None
    said = _WORD.findall(statement[:400])
    first = said[0].lower() if said else ""
    if first == "explain":
        runs = re.match(r"(?is)explain\s*(?:\([^)]*\banalyze\b[^)]*\)|\s+analyze\b(?:\s+verbose\b)?)(.*)", statement)
        return _change(runs[1].strip()) if runs else None
    if first == "copy":
        return None if re.search(r"(?i)\bto\s+stdout\b", statement) else _described(first, said)
    if first == "prepare":
        inner = re.search(r"(?is)\bas\b(.*)", statement)
        return _change(inner[1].strip()) if inner else "PREPARE"
    if first == "pragma":
        return f"PRAGMA {found[1].lower()}" if (found := _PRAGMAS.match(statement)) else None
    if first not in _READS:
        return _described(first, said)
    return _of_reading(first, statement)


def _of_reading(first: str, statement: str) -> str | None:
    if first not in ("select", "with", "values", "table", "declare"):
        return None
    if found := _INSIDE.search(statement):
        after = _WORD.findall(statement[found.start() : found.start() + 400])
        return _described(after[0].lower(), after)
    if found := _LOCKS.search(statement):
        return f"SELECT ... {' '.join(found[0].upper().split())}"
    if found := _INTO.search(statement):
        return f"SELECT ... {' '.join(found[0].split())}"
    return f"SELECT {found[1].lower()}()" if (found := _FUNCTIONS.search(statement)) else None


def _described(verb: str, said: list[str]) -> str:
    """``INSERT INTO articles``, ``UPDATE articles``, ``CREATE TABLE articles``."""
    told = [verb.upper()]
    for word in said[1:6]:
        if word.lower() in _SKIPPED_WORDS:
            if word.lower() in _TOLD_WORDS:
                told.append(word.upper())
            continue
        told.append(word.strip('"`[]'))
        break
    return " ".join(told)
