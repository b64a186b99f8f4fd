#!/bin/sh
# The way back: the Flask app alone, without Graft, on any system that has Python. pip install waitress==3.0.2
exec waitress-serve --listen="127.0.0.1:${PORT:-8000}" --threads=16 --call legacy_flask:create_app
