"""A small site with both sides, for tests that start a whole deployment: says what it saw, streams, takes uploads."""
