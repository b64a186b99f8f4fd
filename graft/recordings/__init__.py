"""Recordings: requests and what the legacy side said to them, kept without their secrets as HAR 1.2 files.

exchange.py         one request and its answer, as it is kept
redaction.py        what was said, without its secrets
har.py              HAR files: read, and written so that they are whole after each exchange
finder.py           which rule of the Flask app a request belongs to
imported.py         HAR files of browsers and proxies
order.py            what a running gateway is asked to record, as a file in GRAFT_DATA
copies.py           copies of sampled requests, taken beside the app
recorder.py         one worker of the gateway: follows the order, writes what was copied
"""

from graft.recordings.exchange import Exchange
from graft.recordings.har import read_recordings

__all__ = ["Exchange", "read_recordings"]
