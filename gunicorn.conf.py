"""Gunicorn's settings. It picks them up by itself in the folder it is started in; command-line options win over them.

Host, port, workers and logging come from the environment and ``.env``, as for every other way to start the gateway.
"""

import logging
import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from graft.cli.serve import guard
from graft.cli.servers import default_workers
from graft.figures import folders
from graft.observe import logs
from graft.settings import Settings

# A wrong setting is one line and exit code 2, before anything is started.
with guard(__name__):
    _settings = Settings.load()

# -- Where, and by how many ------------------------------------------------------------------------------------------

# HOST and PORT. This machine only unless told otherwise: Nginx in front is what the world talks to.
bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"

# WEB_CONCURRENCY, else one for each usable core (2 to 12): an async worker fills a core by itself.
workers = _settings.workers or default_workers()

# The ASGI worker that comes with uvicorn. Its module says that a package of its own will replace it one day; that one
# notice is silenced, every other warning stays.
worker_class = "uvicorn.workers.UvicornWorker"
warnings.filterwarnings("ignore", "The `uvicorn.workers` module is deprecated", DeprecationWarning)

# Each worker builds the app after the fork. Loaded before it, the workers would share sockets, threads and event loops
# that the Flask app opened while it was imported, which breaks database and Elasticsearch clients in ways hard to see.
preload_app = False

# -- How long ---------------------------------------------------------------------------------------------------------

# Seconds that a worker's event loop may stand still before the worker is replaced. It is no limit on requests: slow
# ones wait in threads or awaits while the loop goes on. Importing a heavy Flask app counts, hence twice the default.
timeout = 60

# Seconds for open requests and background tasks to end after SIGTERM, unless GRACEFUL_TIMEOUT says otherwise; keep
# systemd's TimeoutStopSec and Kubernetes' terminationGracePeriodSeconds above it.
graceful_timeout = 30
if "graceful_timeout" in _settings.model_fields_set:
    graceful_timeout = max(1, round(_settings.graceful_timeout))

# Seconds that an idle connection stays open. Longer than Nginx's 60 s for its upstream connections: were it shorter,
# Nginx would now and then send a request into a connection that is just being closed, and answer 502.
keepalive = 75

# Connections that may wait to be accepted while all workers are busy; the kernel's somaxconn caps it.
backlog = 2048

# Workers are not recycled after so many requests: streams, WebSockets and background tasks live longer than any count.
max_requests = 0

# The heartbeat file in memory: on a slow disk, writing it could block a worker long enough to be taken for hung.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

# -- Who is believed --------------------------------------------------------------------------------------------------

# FORWARDED_ALLOW_IPS: the proxies whose X-Forwarded-* headers are believed. This machine only unless told otherwise.
forwarded_allow_ips = _settings.forwarded_allow_ips

# -- What is written --------------------------------------------------------------------------------------------------

# The gateway writes one access record a request itself, with the side, the route and the request id.
accesslog = None

# Gunicorn's own lines in the same shape as the gateway's (LOG_FORMAT), to stderr.
loglevel = "debug" if _settings.log_level == "trace" else _settings.log_level
logconfig_dict = logs.configuration(_settings)

# The control socket of newer Gunicorns is one more way in that nothing here uses.
control_socket_disable = True

# -- Metrics of all workers together ----------------------------------------------------------------------------------

_own_metrics_folder = "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def on_starting(server: Any) -> None:
    """Before the first worker: an empty folder in which the workers share their counters."""
    if _own_metrics_folder:
        with guard(__name__):
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folders.fresh(Path(_settings.data)))


def post_fork(server: Any, worker: Any) -> None:
    """The gateway in the worker goes by what holds here: ``--graceful-timeout`` and ``--bind`` on the command line."""
    os.environ["GRACEFUL_TIMEOUT"] = str(worker.cfg.graceful_timeout)
    for address in (listener.getsockname() for listener in reversed(worker.sockets)):
        if isinstance(address, tuple):  # not the path of a unix socket
            os.environ.update(HOST=address[0], PORT=str(address[1]))


def post_worker_init(worker: Any) -> None:
    """Four corrections to Uvicorn's worker, before it serves.

    It hands its log to Gunicorn's handlers; ours hang on the root logger, so its lines have to get there. And it waits
    for open connections without limit: a client that never leaves would use up ``graceful_timeout``, and background
    tasks would be killed instead of being recorded as interrupted. The last seconds are the app's own. And it closes
    connections into which a proxy is just writing, and writes each response in two pieces: see graft/connection/. And
    it measures by the wall clock when to tell Gunicorn that it lives: a clock set back an hour would have it killed.
    """
    logging.getLogger("uvicorn.error").propagate = True
    config = getattr(worker, "config", None)
    if config is not None and getattr(config, "timeout_graceful_shutdown", 0) is None:
        config.timeout_graceful_shutdown = max(1, worker.cfg.graceful_timeout - 10)
    if hasattr(config, "timeout_notify"):
        config.timeout_notify = float("-inf")  # with every tick of a second
    if getattr(config, "http", None) == "auto" and find_spec("httptools") is not None:
        from graft.connection.protocol import Connection

        config.http = Connection


def child_exit(server: Any, worker: Any) -> None:
    """A worker is gone: its gauges no longer count.

    An exception here would end Gunicorn with all its workers, so a folder that may no longer be written is only told.
    """
    from prometheus_client.multiprocess import mark_process_dead

    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        try:
            mark_process_dead(worker.pid)
        except OSError as error:
            server.log.error("The metrics of worker %s stay as they were: %s", worker.pid, error)
