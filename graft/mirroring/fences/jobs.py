"""Work that is handed to others: queues, pools of threads and of processes; and functions that raise no audit event."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from graft.mirroring.fence import Kind, Tried, current, is_judged, mirrored_run
from graft.mirroring.fences import callers
from graft.mirroring.fences.wrapping import wrap, wrap_functions


def _queued(owner: Any, name: Any = "", *rest: Any, **keywords: Any) -> str:
    function = keywords.get("f") or keywords.get("func") or keywords.get("name") or name
    told = getattr(function, "__qualname__", None) or getattr(function, "func_name", None) or function
    return f"queue the task {told}" if isinstance(told, str) and told else "queue a task"


def _celery(module: Any) -> None:
    wrap(module.Celery, Kind.QUEUE, _queued, "send_task", covers=True)


def _kombu(module: Any) -> None:
    wrap(module.Producer, Kind.QUEUE, lambda *args, **kw: "publish a message", "publish", covers=True)


def _rq(module: Any) -> None:
    wrap(
        module.Queue,
        Kind.QUEUE,
        _queued,
        "enqueue",
        "enqueue_call",
        "enqueue_at",
        "enqueue_in",
        "enqueue_job",
        covers=True,
    )


def _pika(module: Any) -> None:
    names = [each for each in ("Channel", "BlockingChannel") if hasattr(module, each)]
    for name in names:
        wrap(getattr(module, name), Kind.QUEUE, lambda *args, **kw: "publish a message", "basic_publish")


def _process(module: Any) -> None:
    wrap(module.BaseProcess, Kind.PROCESSES, lambda *args, **kw: "start another process", "start")


def _process_pool(module: Any) -> None:
    wrap(module.ProcessPoolExecutor, Kind.PROCESSES, lambda *args, **kw: "give work to another process", "submit")


def _multiprocessing_pool(module: Any) -> None:
    wrap(
        module.Pool,
        Kind.PROCESSES,
        lambda *args, **kw: "give work to another process",
        *("apply_async", "map_async", "starmap_async", "imap", "imap_unordered", "_map_async"),
    )


def _threads(module: Any) -> None:
    """A thread that is allowed to start is mirrored work, too."""
    owner = module.Thread
    start = owner.start

    @wraps(start)
    def marked(self: Any) -> Any:
        run = mirrored_run()
        if run is None or is_judged() or callers.starts_pool_thread() or callers.is_excused(Kind.TASKS):
            return start(self)
        if run.refuses(Kind.TASKS):
            raise run.refuse(f"start a thread for {callers.name_of(getattr(self, '_target', None) or self)}")
        self.run = partial(_of_run, run, self.run)
        return start(self)

    owner.start = marked


def _raw_threads(module: Any) -> None:
    """Below ``threading``, which has taken the function itself: what comes by here is an app's or a library's own."""
    start = module.start_new_thread

    @wraps(start)
    def marked(function: Any, args: Any, *rest: Any) -> Any:
        run = mirrored_run()
        if run is None or is_judged() or callers.starts_pool_thread() or callers.is_excused(Kind.TASKS):
            return start(function, args, *rest)
        if run.refuses(Kind.TASKS):
            raise run.refuse(f"start a thread for {callers.name_of(function)}")
        return start(partial(_of_run, run, function), args, *rest)

    module.start_new_thread = module.start_new = marked


def _nodes(module: Any) -> None:
    """Named pipes and devices: the two calls of ``os`` that change the file system without an event."""
    wrap_functions(module, Kind.FILES, _node, "mkfifo", "mknod")


def _node(path: Any, *rest: Any, **keywords: Any) -> str:
    return f"make the node {os.fsdecode(path)}"


def _thread_pool(module: Any) -> None:
    """A pool runs what it is given without the giver's ContextVars: it is told whose work that is. Reading in parallel
    stays possible, and what is refused to the giver is refused to it."""
    owner = module.ThreadPoolExecutor
    submit = owner.submit

    @wraps(submit)
    def marked(self: Any, fn: Callable[..., Any], /, *args: Any, **keywords: Any) -> Any:
        run = mirrored_run()
        if run is None or is_judged():
            return submit(self, fn, *args, **keywords)
        return submit(self, partial(_of_run, run, fn), *args, **keywords)

    owner.submit = marked


def _of_run(run: Tried, fn: Callable[..., Any], /, *args: Any, **keywords: Any) -> Any:
    token = current.set(run)
    try:
        return fn(*args, **keywords)
    finally:
        current.reset(token)


def _uvloop(module: Any) -> None:
    """Its processes are started in C, without an event of Python's."""
    owner = module.Loop
    for name in ("subprocess_exec", "subprocess_shell"):
        original = getattr(owner, name, None)
        if original is not None and name not in vars(owner):
            setattr(owner, name, _inherited(owner, name))
    wrap(owner, Kind.PROCESSES, _started, "subprocess_exec", "subprocess_shell")


def _inherited(owner: type, name: str) -> Callable[..., Any]:
    async def method(self: Any, *args: Any, **keywords: Any) -> Any:
        return await getattr(super(owner, self), name)(*args, **keywords)

    method.__name__ = name
    method.__qualname__ = f"{owner.__qualname__}.{name}"
    return method


def _started(loop: Any, protocol: Any, program: Any = "", *rest: Any, **keywords: Any) -> str:
    text = program.decode("utf-8", "replace") if isinstance(program, bytes) else str(program)
    return f"run the program {text.split(None, 1)[0].rpartition('/')[2] if text.strip() else text}"


LIBRARIES: dict[str, Callable[[Any], None]] = {
    "celery.app.base": _celery,
    "kombu.messaging": _kombu,
    "rq.queue": _rq,
    "pika.channel": _pika,
    "pika.adapters.blocking_connection": _pika,
    "os": _nodes,
    "_thread": _raw_threads,
    "threading": _threads,
    "multiprocessing.process": _process,
    "multiprocessing.pool": _multiprocessing_pool,
    "concurrent.futures.process": _process_pool,
    "concurrent.futures.thread": _thread_pool,
    "uvloop": _uvloop,
}
"""By the module that has to be imported."""
