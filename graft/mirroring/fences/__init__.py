"""How the fence sees what mirrored work tries: each kind in the least intrusive way that there is.

- ``events``: Python's audit events, one hook for the whole process: files, processes, threads, SMTP, http.client.
- ``drivers``, ``clients``, ``jobs``: methods of libraries that raise no event, wrapped when the library is imported
  already (``watched``). Graft imports none of them.
- ``logs``: the record factory of ``logging``.

Nothing of it is in a process before its first mirrored run, and afterwards it costs other work one look at a ContextVar
(``fence.current``) at each of these places.
"""

from graft.mirroring.fences.watching import watch

__all__ = ["watch"]
