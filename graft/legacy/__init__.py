"""All that knows WSGI or Flask."""
