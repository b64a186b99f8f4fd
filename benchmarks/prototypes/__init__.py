"""Measurements of what HTTP in Python can cost around Flask and around Starlette. No servers: they have no limits, no
errors, no records, no flow control. What Graft takes above them is what a server has to do besides."""
