"""Finding the native routes, and finding the one that answers a request."""
