"""What Gunicorn's own code does not survive: a fork that fails, a master that is gone, a reload with broken code. Read
in 22.0 to 27.0.

And its master asks for another worker when one is gone, not when one leaves.

``keep_forking``, ``keep_stopping``, ``replace_leaving`` and ``try_before_reload`` are for the master, the others for a
worker. They touch ``Arbiter.spawn_worker``, ``Arbiter.reexec``, ``Arbiter.reap_workers``, ``Arbiter.stop``, what
``ARBITER`` and ``RELOADING`` name, ``BaseApplication.reload`` and ``.wsgi``, ``util.set_owner_process``,
``Worker.ppid``, ``Worker.age``, ``Worker.notify``, ``Worker.booted`` and ``Worker.init_process``, and nothing else that
is not documented.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from graft.connection.leaving import Marks
from graft.gunicorn_trial import Trial

ARBITER = ("manage_workers", "stop", "WORKERS", "_num_workers")
RELOADING = ("reload", "manage_workers", "stop", "app", "SIGNALS")
BOOT_ERROR = 3  # Arbiter.WORKER_BOOT_ERROR: a worker that ends with it takes the whole server along
LOAD_ERROR = 4  # Arbiter.APP_LOAD_ERROR: the same
PAUSE = 3.0  # seconds between two workers that can't start
LONGEST_LOAD = 300.0  # seconds for a trial where ``timeout`` has no limit


def keep_forking(server: Any) -> None:
    """From now on a fork that fails (no process or no memory to be had) is logged, and tried again each second.

    Gunicorn takes it for an error of its own: the master kills all workers and exits. (master)
    """
    server.spawn_worker = _Forking(server, server.spawn_worker, "start another worker", _and_the_old_code)
    server.reexec = _Forking(server, server.reexec, "start the next master", _and_no_more)


def _and_the_old_code(server: Any) -> str:
    if len(server.WORKERS) >= server.num_workers:  # of a reload; with fewer, Gunicorn asks again by itself
        return "The workers of before stay: reload once more when there is room."
    return "It is tried again each second; the others serve on."


def _and_no_more(server: Any) -> str:
    return "This one serves on: send USR2 once more when there is room."


class _Forking:
    """Stands in for a method of ``server`` that forks."""

    def __init__(self, server: Any, method: Callable[[], Any], what: str, then: Callable[[Any], str]) -> None:
        self._server = server
        self._method = method
        self._what = what
        self._then = then
        self._failing = False

    def __call__(self) -> Any:
        parent = os.getpid()
        try:
            result = self._method()
        except OSError as error:
            if os.getpid() != parent:
                raise  # in the child, which must not go on as a second master
            if not self._failing:
                self._failing = True
                self._server.log.error("Can't %s: %s. %s", self._what, error.strerror, self._then(self._server))
            return None
        if self._failing and os.getpid() == parent:
            self._failing = False
            self._server.log.info("Could %s again", self._what)
        return result


def keep_stopping(server: Any) -> None:
    """A master that ends because a worker can't start ends with the reason of the first one, whatever the others do.

    Gunicorn raises HaltServer for each of them. While it stops for the first, nobody catches the second: it left with a
    traceback and code 1 in place of 3 or 4, and without waiting for the workers that drain. (master)
    """
    if not hasattr(server, "reap_workers"):
        return  # another release's: then as there
    from gunicorn.errors import HaltServer

    reap, stop = server.reap_workers, server.stop

    def reap_all() -> None:
        while True:  # the one that raised is off the list, and there may be more
            with suppress(HaltServer):
                reap()
                return

    def stop_all(*args: Any, **named: Any) -> None:
        server.reap_workers = reap_all
        stop(*args, **named)

    server.stop = stop_all


def missing(server: Any, names: tuple[str, ...] = ARBITER) -> str | None:
    """The first of ``names``, the parts that ``replace_leaving`` or ``try_before_reload`` need, that this Gunicorn has
    not; None if all are there."""
    return next((name for name in names if not hasattr(server, name)), None)


def replace_leaving(server: Any, marks: Marks) -> None:
    """A worker that leaves does not count, so that another one takes its place at once; a stop is marked. (master)"""
    manage, stop = server.manage_workers, server.stop

    def manage_workers() -> None:
        wanted = server._num_workers
        server._num_workers = wanted + sum(marks.leaves(worker.age) for worker in list(server.WORKERS.values()))
        try:
            manage()
        finally:
            server._num_workers = wanted

    def stop_all(*args: Any, **named: Any) -> None:
        marks.stop()
        stop(*args, **named)

    server.manage_workers, server.stop = manage_workers, stop_all


def try_before_reload(server: Any) -> None:
    """A reload (SIGHUP) begins with a trial of the new code and settings; where they can't be loaded it ends there,
    with one line. (master)

    Gunicorn reads its configuration file in the master, which ends when that fails, and sends the workers that serve
    away before one of the new ones is there: so code that can't be imported was the end of the site. The master goes
    on meanwhile, and looks for the outcome when it looks for its workers: at the end of the child, or each second.
    """
    reload, manage, stop = server.reload, server.manage_workers, server.stop
    trial: Trial | None = None

    def end_trial() -> None:
        nonlocal trial
        if trial is not None:
            trial.end()
            trial = None

    def try_and_reload() -> None:
        nonlocal trial
        end_trial()  # of older code
        try:
            trial = Trial(lambda: _load_anew(server), server.SIGNALS, server.cfg.timeout or LONGEST_LOAD)
        except OSError:  # no process for it: then none for workers, upon which those of before stay
            reload()

    def look_and_manage() -> None:
        nonlocal trial
        if trial is not None and (reason := trial.outcome()) is not None:
            trial = None
            if reason:
                server.log.error("Nothing is reloaded, the workers of before serve on: %s", reason)
            else:
                reload()
        manage()

    def stop_all(*args: Any, **named: Any) -> None:
        end_trial()
        stop(*args, **named)

    server.reload, server.manage_workers, server.stop = try_and_reload, look_and_manage, stop_all


def _load_anew(server: Any) -> None:
    """What the master does in a reload and then a new worker, until the app is there. (a child of the master)"""
    from gunicorn import util

    app = server.app
    app.reload()
    os.environ.update(app.cfg.env)
    util.set_owner_process(app.cfg.uid, app.cfg.gid, initgroups=app.cfg.initgroups)  # type: ignore[no-untyped-call]
    app.wsgi()


def follow_master(worker: Any) -> None:
    """A worker whose master is gone (kill -9) drains and exits, as after SIGTERM: it would serve on for ever, and keep
    the next master from the address. Within a second, by the tick in which it tells the master that it lives.

    Nobody watches over such a worker any more, so the kernel ends it once its time is over. (worker)
    """
    notify = worker.notify

    def follow() -> None:
        notify()
        if os.getppid() != worker.ppid:
            worker.notify = notify  # once
            worker.log.error("The master (pid:%s) is gone: worker %s drains and exits", worker.ppid, worker.pid)
            with suppress(ValueError):  # not in the main thread, where a test may run it
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(math.ceil(worker.cfg.graceful_timeout) + 1)
            os.kill(os.getpid(), signal.SIGTERM)

    worker.notify = follow


def keep_server(worker: Any, marks: Marks | None) -> None:
    """A worker that can't start while others serve ends as one that has crashed, so that Gunicorn starts another: its
    code or its settings were changed, what it needs is down, or the system has no thread for it. (worker)

    By the codes for a failed start it would halt the server, with the workers that serve. Where none serves, as at the
    first start, it does: a supervisor, or who started it, has to see that.
    """
    wait_for_threads(worker)
    init, notify = worker.init_process, worker.notify

    def init_and_say() -> None:
        try:
            init()
        except (SystemExit, Exception) as ending:
            code = ending.code if isinstance(ending, SystemExit) else None
            halts = code in (BOOT_ERROR, LOAD_ERROR) or (code is None and not worker.booted)
            if halts or isinstance(ending, RuntimeError):
                wait_for_threads(worker)
            if not halts or marks is None or not marks.any_serves():
                raise
            reason = None if isinstance(ending, SystemExit) else ending  # which has said why
            worker.log.error(
                "Worker %s can't start. Another one is tried; the others serve on", worker.pid, exc_info=reason
            )
            time.sleep(PAUSE)  # Gunicorn starts the next one at once
            raise SystemExit(1) from None

    def notify_and_mark() -> None:  # with each tick of a server that has started
        notify()
        if marks is not None:
            marks.serve(worker.age)

    worker.init_process, worker.notify = init_and_say, notify_and_mark
    if marks is not None:
        marks.clear(worker.age)


def wait_for_threads(worker: Any) -> None:
    """Raises SystemExit after a pause when the system gives no thread: there is nothing that a worker could do."""
    if not _has_threads():
        worker.log.error("Worker %s can't start: the system has no thread for it", worker.pid)
        time.sleep(PAUSE)  # Gunicorn starts the next one at once
        raise SystemExit(1) from None


def _has_threads() -> bool:
    try:
        thread = threading.Thread(target=int)
        thread.start()
    except RuntimeError:
        return False
    thread.join()
    return True
