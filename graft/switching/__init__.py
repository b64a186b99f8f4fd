"""Which side answers a switched route, and whether the other side would have said the same."""
