"""Flask-Compress: every encoding that a client may ask for."""

from tests.parity.visitor import Visitor

PAGES = ("/", "/small", "/rows", "/tagged", "/stream", "/source", "/image", "/no-such-page")
ENCODINGS = ("identity", "gzip", "br", "zstd", "deflate", "gzip;q=0.5, br;q=0.9", "*", "gzip;q=0", "")


def encodings(visitor: Visitor) -> None:
    for page in PAGES:
        for encoding in ENCODINGS:
            visitor.get(page, headers={"accept-encoding": encoding})
        visitor.ask("HEAD", page, headers={"accept-encoding": "gzip"})


def conditions(visitor: Visitor) -> None:
    for page in ("/tagged", "/source"):
        for encoding in ("identity", "gzip"):
            tag = visitor.get(page, headers={"accept-encoding": encoding}).headers.get("etag", '"none"')
            visitor.get(page, headers={"accept-encoding": encoding, "if-none-match": tag})
            visitor.get(page, headers={"accept-encoding": encoding, "range": "bytes=10-99"})
            visitor.get(page, headers={"accept-encoding": encoding, "range": "bytes=10-99", "if-range": tag})
