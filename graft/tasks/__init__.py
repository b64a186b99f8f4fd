"""Background tasks with ids: they run on the server's event loop, outlive their request, and end with the worker.

In a Flask view, sync or async::

    from graft import tasks

    task_id = tasks.start(send_report, "ada@example.org")

and in a native route ``request.state.tasks.start(...)``. Inside the task ``tasks.step("half way")`` reports.
"""

from graft.tasks.records import TaskRecord, TaskState
from graft.tasks.refusals import TaskRefused, TasksClosed, TasksFull, exception_handlers
from graft.tasks.runner import Runner, refusal, start, step

__all__ = [
    "Runner",
    "TaskRecord",
    "TaskRefused",
    "TaskState",
    "TasksClosed",
    "TasksFull",
    "exception_handlers",
    "refusal",
    "start",
    "step",
]
