"""Gunicorn's settings. It picks them up by itself in the folder it is started in; command-line options win over them.

``defaults`` has what comes from the environment and ``.env``, as for every other way to start the gateway, and the
hooks. A project that brings an app needs one line for all of this: ``from graft.gunicorn import *``.
"""

from graft import gunicorn as defaults

# -- Where, and by how many ------------------------------------------------------------------------------------------

# HOST and PORT. This machine only unless told otherwise: Nginx in front is what the world talks to.
bind = defaults.bind

# WEB_CONCURRENCY, else one for each usable core (2 to 12): an async worker fills a core by itself.
workers = defaults.workers

# The ASGI worker that comes with uvicorn.
worker_class = "uvicorn.workers.UvicornWorker"

# Each worker builds the app after the fork. Loaded before it, the workers would share sockets, threads and event loops
# that the Flask app opened while it was imported, which breaks database and Elasticsearch clients in ways hard to see.
preload_app = False

# -- How long ---------------------------------------------------------------------------------------------------------

# Seconds that a worker's event loop may stand still before the worker is replaced. It is no limit on requests: slow
# ones wait in threads or awaits while the loop goes on. Importing a heavy Flask app counts, hence twice the default.
timeout = 60

# GRACEFUL_TIMEOUT, else 30: seconds for open requests and background tasks to end after SIGTERM; keep systemd's
# TimeoutStopSec and Kubernetes' terminationGracePeriodSeconds above it.
graceful_timeout = defaults.graceful_timeout

# Seconds that an idle connection stays open. Longer than Nginx's 60 s for its upstream connections: were it shorter,
# Nginx would now and then send a request into a connection that is just being closed, and answer 502.
keepalive = 75

# Connections that may wait to be accepted while all workers are busy; the kernel's somaxconn caps it.
backlog = 2048

# Workers are not recycled after so many requests: streams, WebSockets and background tasks live longer than any count.
max_requests = 0

# The heartbeat file in memory: on a slow disk, writing it could block a worker long enough to be taken for hung.
worker_tmp_dir = defaults.worker_tmp_dir

# -- Who is believed --------------------------------------------------------------------------------------------------

# FORWARDED_ALLOW_IPS: the proxies whose X-Forwarded-* headers are believed. This machine only unless told otherwise.
forwarded_allow_ips = defaults.forwarded_allow_ips

# -- What is written --------------------------------------------------------------------------------------------------

# The gateway writes one access record a request itself, with the side, the route and the request id.
accesslog = None

# LOG_LEVEL and LOG_FORMAT: Gunicorn's own lines in the same shape as the gateway's, to stderr.
loglevel = defaults.loglevel
logconfig_dict = defaults.logconfig_dict

# The control socket of newer Gunicorns is one more way in that nothing here uses.
control_socket_disable = True

# -- Hooks ------------------------------------------------------------------------------------------------------------

# The workers share their counters in a folder of their own, which a worker that is gone leaves.
on_starting = defaults.on_starting
child_exit = defaults.child_exit

# While it runs, the command line finds it.
on_exit = defaults.on_exit

# The gateway in a worker goes by --bind and --graceful-timeout, and Uvicorn's worker is corrected where it fails.
post_fork = defaults.post_fork
post_worker_init = defaults.post_worker_init
