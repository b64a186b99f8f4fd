"""A view that asks another service and waits 50 ms for its answer, native and in Flask; and that service."""
