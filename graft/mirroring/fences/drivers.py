"""Databases: the drivers' cursors, below any ORM, and SQLAlchemy's event for all other drivers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graft.mirroring.fence import Kind, current
from graft.mirroring.fences.statements import change, text_of
from graft.mirroring.fences.wrapping import wrap

_EXECUTE = ("execute", "executemany", "executescript")


def _statement(cursor: Any, statement: Any = "", *rest: Any, **keywords: Any) -> str | None:
    """``statement`` is called ``query``, ``sql`` or ``operation`` by one or the other."""
    named = [keywords[name] for name in ("query", "sql", "operation", "command", "statement") if name in keywords]
    return change(text_of(named[0] if named else statement, cursor))


def _always(what: str) -> Callable[..., str]:
    return lambda *args, **keywords: what


def _sql(owner: type, *names: str) -> None:
    wrap(owner, Kind.DATABASE, _statement, *names)


def _sqlite3(module: Any) -> None:
    for owner in (module.Connection, module.Cursor):
        wrap(owner, Kind.DATABASE, _sqlite_statement, *_EXECUTE)
    wrap(module.Connection, Kind.DATABASE, _always("write a BLOB"), "blobopen")
    wrap(module.Connection, Kind.DATABASE, _sqlite_copy, "backup")
    wrap(module.Connection, Kind.DATABASE, _sqlite_loaded, "deserialize")


def _sqlite_statement(owner: Any, statement: Any = "", *rest: Any, **keywords: Any) -> str | None:
    found = _statement(owner, statement, *rest, **keywords)
    return None if found is None or _is_own_memory(getattr(owner, "connection", owner)) else found


def _sqlite_copy(source: Any, target: Any = None, *rest: Any, **keywords: Any) -> str | None:
    return None if target is None or _is_own_memory(target) else "copy a database over another"


def _sqlite_loaded(connection: Any, *rest: Any, **keywords: Any) -> str | None:
    run = current.get()
    is_own = run is not None and any(own is connection for own in run.own_databases)
    return None if is_own else "put another database in the place of one"


def _is_own_memory(connection: Any) -> bool:
    """Whether it is a database in memory that this run has made for itself."""
    run = current.get()
    if run is None or not any(own is connection for own in run.own_databases):
        return False
    return all(not row[2] for row in connection.execute("PRAGMA database_list"))


def _psycopg(module: Any) -> None:
    for name in ("Cursor", "AsyncCursor", "ServerCursor", "AsyncServerCursor", "ClientCursor", "AsyncClientCursor"):
        _sql(getattr(module, name), "execute", "executemany", "stream", "copy")


def _psycopg2(module: Any) -> None:
    _sql(module.cursor, "execute", "executemany", "copy_expert")
    wrap(module.cursor, Kind.DATABASE, lambda cursor, name, *rest, **kw: f"CALL {name}", "callproc")
    wrap(module.cursor, Kind.DATABASE, lambda cursor, file, table, *rest, **kw: f"COPY {table}", "copy_from")


def _mysql(name: str) -> Callable[[Any], None]:
    def install(module: Any) -> None:
        owner = getattr(module, name)
        _sql(owner, "execute", "executemany")
        wrap(owner, Kind.DATABASE, lambda cursor, procedure, *rest, **kw: f"CALL {procedure}", "callproc")

    return install


def _asyncpg(module: Any) -> None:
    names = ("execute", "executemany", "fetch", "fetchrow", "fetchval", "fetchmany", "cursor", "prepare")
    _sql(module.Connection, *names)
    for name in ("copy_to_table", "copy_records_to_table"):
        wrap(module.Connection, Kind.DATABASE, lambda connection, table, *rest, **kw: f"COPY {table}", name)


def _aiosqlite(module: Any) -> None:
    _sql(module.Connection, *_EXECUTE, "execute_insert", "execute_fetchall")
    _sql(module.Cursor, *_EXECUTE)


def _sqlalchemy(module: Any) -> None:
    """Its own event, of the statement as it goes to the driver: flushes of the ORM and all else, over any driver."""
    from sqlalchemy import event  # type: ignore[import-not-found, unused-ignore]

    def before(connection: Any, cursor: Any, statement: Any, parameters: Any, context: Any, many: bool) -> None:
        run = current.get()
        if run is None or not run.refuses(Kind.DATABASE) or type(cursor).__module__.partition(".")[0] in _SEEN_BELOW:
            return
        if (found := change(text_of(statement))) is not None:
            raise run.refuse(found)

    event.listen(module.Engine, "before_cursor_execute", before)


_SEEN_BELOW = ("sqlite3",)
"""Whose own cursor is judged, which knows whether the database is in memory and of this run alone."""

LIBRARIES: dict[str, Callable[[Any], None]] = {
    "sqlite3.dbapi2": _sqlite3,
    "psycopg": _psycopg,
    "psycopg2.extensions": _psycopg2,
    "pymysql.cursors": _mysql("Cursor"),
    "MySQLdb.cursors": _mysql("BaseCursor"),
    "aiomysql.cursors": _mysql("Cursor"),
    "asyncpg.connection": _asyncpg,
    "aiosqlite.core": _aiosqlite,
    "aiosqlite.cursor": lambda module: _sql(module.Cursor, *_EXECUTE),
    "sqlalchemy.engine": _sqlalchemy,
}
"""By the module that has to be imported."""
