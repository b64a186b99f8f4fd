"""``python gateway.py``: check, say what will run, become the server.

The gateway module was built by the time ``main`` is called, so whatever a person can mend has been reported already.
The process then turns into Gunicorn or Uvicorn, which build it afresh in their workers.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from graft.cli import ports, servers
from graft.cli.output import echo
from graft.cli.started import StartedWith
from graft.control.token import login_link_deferred, print_login_link
from graft.errors import GraftError
from graft.figures import folders
from graft.gateways import server as gateway_server
from graft.gateways.addresses import http_address
from graft.observe import logs
from graft.settings import Settings, tell

if TYPE_CHECKING:  # Gunicorn's master imports this module, and needs no Starlette
    from starlette.routing import BaseRoute

__all__ = ["Program", "guard", "main"]

CAN_EXEC = os.name == "posix"
USAGE_ERROR = 2
UVICORN_STARTUP_FAILURE = 3  # the one code that Uvicorn's supervisor does not answer with another try
GUNICORN_APP_LOAD_ERROR = 4  # the same for Gunicorn's arbiter: "App failed to load."


@contextmanager
def guard(name: str) -> Iterator[None]:
    """Around the building of a gateway, with its ``__name__``: turn a GraftError into one line and an exit code.

    The code is 2 in ``python gateway.py``; under Gunicorn and Uvicorn it is the one that ends the whole server rather
    than have it start worker after worker. In any other program, a test or a shell, the error is raised on.
    """
    if name == "__main__" and (folder := _program_folder()) is not None:
        os.chdir(folder)  # relative settings then mean the same as under Gunicorn, which is started there
        _started_with.append(StartedWith.now())
    if _is_uvicorn():
        _adopt_uvicorns_address()
    if name != "__config__" and _exit_code(name) is not None:
        with suppress(GraftError):  # which is raised once more, and told
            logs.configure(Settings.load())  # before the app sets up its own: nothing of Graft's goes there
    try:
        with login_link_deferred() if name == "__main__" else nullcontext():  # main knows the address
            yield
    except GraftError as error:
        code = _exit_code(name)
        if code is None:
            raise
        _stop(error, code)


_started_with: list[StartedWith] = []
"""Of this program, before it imported the app; empty where it did not."""


@dataclass(frozen=True)
class Program:
    """The gateway in the program that runs: ``app``, and ``settings`` that win over the environment."""

    app: Any = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return getattr(self.app, "routes", ())


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", help="Address to listen on.  [HOST, or 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.  [PORT, or 8000]")
@click.option("--workers", type=click.IntRange(1), help="Worker processes.  [WEB_CONCURRENCY, or 1]")
@click.option("--reload", is_flag=True, help="Start again when a file changes (for development).")
@click.option("--prod", is_flag=True, help="A worker for each core, and nothing but Gunicorn.")
@click.option("--called-as", hidden=True, default="python gateway.py", help="How the person started this program.")
@click.pass_obj
def main(
    program: Program | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    reload: bool,
    prod: bool,
    called_as: str,
) -> None:
    """Serve the gateway: under Gunicorn if it is there, else Uvicorn, else the Flask app alone."""
    if reload and (prod or (workers or 1) > 1):
        raise click.UsageError("--reload is for development: one worker, without --prod.")
    program = program or Program(getattr(sys.modules["__main__"], "app", None))
    options = {"host": host, "port": port, "workers": workers}
    given = {**program.settings, **{name: value for name, value in options.items() if value is not None}}
    try:
        settings = Settings.load(**given)
        settings = _on_a_free_port(settings, given, called_as, may_ask=not prod)
        plan = _plan(settings, reload=reload, prod=prod)
    except GraftError as error:
        _stop(error, USAGE_ERROR)
    from graft.cli import banner  # every worker imports this module, and draws nothing

    print_login_link(settings)
    banner.show(settings, plan, program.routes, sys.stdout, _why_closed(program, plan))
    for started_with in _started_with[-1:]:
        started_with.restore()
    _prepare_environment(settings, plan)
    _become(plan.command)


def _why_closed(program: Program, plan: servers.Plan) -> str | None:
    """Why the express way is closed, if it is; the Flask app alone has none, and no Uvicorn to ask about it."""
    if plan.server is servers.Server.FLASK:
        return None
    from graft.routing.express_way import closed_by

    return closed_by(program.app)


def _program_folder() -> Path | None:
    file = getattr(sys.modules["__main__"], "__file__", None)
    return Path(file).resolve().parent if file else None


def _exit_code(name: str) -> int | None:
    if name in ("__main__", "__config__"):  # the second is what Gunicorn calls its configuration file
        return USAGE_ERROR
    if "gunicorn.arbiter" in sys.modules and os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/"):
        return GUNICORN_APP_LOAD_ERROR
    return UVICORN_STARTUP_FAILURE if _is_uvicorn() else None


def _is_uvicorn() -> bool:
    """Whether this is Uvicorn's own command, or a worker of it."""
    return "uvicorn" in (Path(sys.argv[0]).stem, Path(sys.argv[0]).parent.name)


def _adopt_uvicorns_address() -> None:
    """Uvicorn's command line says where the gateway is, whatever HOST and PORT say."""
    from uvicorn.main import main as uvicorn

    with suppress(click.ClickException, click.exceptions.Exit):
        options = uvicorn.make_context("uvicorn", sys.argv[1:]).params
        if options["uds"] is not None:
            gateway_server.serves_at([f"unix:{Path(options['uds']).absolute()}"])
        elif options["fd"] is None:
            tell(host=options["host"], port=options["port"])
            if options["ssl_certfile"] and options["port"]:
                gateway_server.serves_at([http_address(options["host"], options["port"], tls=True)])
        else:
            gateway_server.serves_at([])  # whoever opened that socket knows where it is


def _stop(error: GraftError, code: int) -> NoReturn:
    echo(f"error: {error}", err=True)
    sys.exit(code)


def _on_a_free_port(settings: Settings, given: dict[str, Any], called_as: str, *, may_ask: bool) -> Settings:
    try:
        ports.check(settings.host, settings.port)
    except ports.PortInUse as error:
        if error.free is None:
            raise
        if may_ask and _on_a_terminal():
            echo(f"{error}", err=True)
            if click.confirm(f"Serve on port {error.free} instead?", default=True, err=True):
                return Settings.load(**{**given, "port": error.free})
        else:
            echo(f"error: {error} Start there with: {_same_command(called_as, error.free)}", err=True)
        sys.exit(USAGE_ERROR)
    return settings


def _on_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _same_command(called_as: str, port: int) -> str:
    """The command that the person typed, with another port."""
    words, skip = shlex.split(called_as), False
    typed = words if called_as != "python gateway.py" else [*words, *sys.argv[1:]]
    kept = []
    for word in typed:
        if not skip and word != "--port" and not word.startswith("--port="):
            kept.append(word)
        skip = word == "--port"
    return shlex.join([*kept, "--port", str(port)])


def _plan(settings: Settings, *, reload: bool, prod: bool) -> servers.Plan:
    file = getattr(sys.modules["__main__"], "__file__", None)
    target = f"{Path(file).stem if file else 'gateway'}:app"
    workers = 1 if reload else settings.workers or (servers.default_workers() if prod else 1)
    plan = servers.choose(target, settings.host, settings.port, workers=workers, reload=reload)
    if prod and plan.server is not servers.Server.GUNICORN:
        raise GraftError(
            "--prod: Gunicorn with Uvicorn's worker is not installed. pip install gunicorn 'uvicorn[standard]'."
        )
    return plan


def _prepare_environment(settings: Settings, plan: servers.Plan) -> None:
    """What Uvicorn's workers can't be told on their command line."""
    if plan.server is servers.Server.UVICORN and plan.workers > 1 and folders.shared is None:
        os.environ[folders.HANDED_OVER] = str(folders.fresh(settings.data))


def _become(command: list[str]) -> None:
    """Run ``command`` in place of this process, so that signals and the exit code are the server's own."""
    sys.stdout.flush()
    sys.stderr.flush()
    if CAN_EXEC:
        os.execv(command[0], command)
    try:  # Windows has no exec: stay, and let Ctrl+C reach the child
        sys.exit(subprocess.call(command))
    except KeyboardInterrupt:
        sys.exit(0)
