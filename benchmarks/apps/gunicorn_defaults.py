"""No settings at all: for Gunicorn as a peer, which would else pick up the gateway's own gunicorn.conf.py."""
