"""Byte streams that two servers could read in two ways, each request in them with a number of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random


@dataclass
class Stream:
    """What one client sends, and what may come back.

    ``numbers`` of the requests, in order, with the size of the body where the head leaves no doubt about it;
    ``never``: numbers of what looks like a request within a body, or comes behind the connection's last request.
    """

    segments: list[bytes] = field(default_factory=list)
    numbers: dict[int, int | None] = field(default_factory=dict)
    never: set[int] = field(default_factory=set)
    seed: int = 0

    def wrong(self, answered: list[tuple[int, int, int]]) -> str | None:
        """What is wrong with these answers: status, number and size of each; number -1 where there is none."""
        told = [number for _, number, _ in answered if number >= 0]
        if len(answered) > len(self.numbers):
            return f"{len(answered)} answers to {len(self.numbers)} requests"
        if any(number in self.never for number in told):
            return f"an answer to what is no request: {told}"
        if any(number not in self.numbers for number in told):
            return f"an answer to somebody else's request: {told}"
        order = list(self.numbers)
        if told != sorted(set(told), key=order.index):
            return f"answers in another order, or twice: {told}"
        for _, number, size in answered:
            if number >= 0 and self.numbers[number] not in (None, size):
                return f"{number} had a body of {self.numbers[number]}, and {size} arrived"
        return None


METHODS = ["GET"] * 4 + ["POST"] * 6 + ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND", "TRACE", "FOO", "get",
                                       "CONNECT", "PRI", "M-SEARCH"]  # fmt: skip
UPGRADES = [("Connection: upgrade", "Upgrade: foo"), ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
            "HTTP2-Settings: AAEA"), ("Upgrade: foo",), ("Connection: upgrade", "Upgrade: websocket"),
            ("Connection: keep-alive, upgrade", "Upgrade: h2c, websocket")]  # fmt: skip
UNCLEAR = ["Content-Length: {n}\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: {n}",
           "Content-Length: {n}\r\nContent-Length: 0", "Content-Length: 0\r\nContent-Length: {n}",
           "Content-Length: {n}\r\nContent-Length: {n}", "Content-Length: {n}, {n}", "Content-Length: +{n}",
           "Content-Length: -{n}", "Content-Length: 0x{n}", "Content-Length : {n}", "Content-Length:\r\n {n}",
           "Transfer-Encoding: gzip", "Transfer-Encoding: chunked, identity", "Transfer-Encoding : chunked",
           "Transfer-Encoding:\r\n chunked", "Transfer-Encoding: xchunked", "Transfer-Encoding:\x0bchunked",
           "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "X: y\nContent-Length: {n}",
           "X: y\rContent-Length: {n}", "Transfer_Encoding: chunked\r\nContent-Length: {n}",
           "Content-Length: {n}\r\nX y: z", "Content-Length: {n}\r\n: z", "Content-Length: {n}\r\nX: \x00"]  # fmt: skip


def generate(seed: int) -> Stream:
    """The stream of this seed."""
    random, stream, data = Random(seed), Stream(seed=seed), b""
    number = seed * 100
    over = False  # the connection's last request was sent
    for _ in range(random.choice((1, 1, 2, 3, 4))):
        number += 10
        request, closes, size = _request(random, number, stream)
        if over:
            stream.never.add(number)
        else:
            stream.numbers[number] = size
        data += request
        over = over or closes
    if not over:
        number += 10
        stream.numbers[number] = 0
        data += f"GET /n/{number} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    cuts = sorted(random.randrange(len(data)) for _ in range(random.choice((0, 0, 1, 2, 5))))
    stream.segments = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]
    return stream


def _request(random: Random, number: int, stream: Stream) -> tuple[bytes, bool, int | None]:
    """The bytes of a request, whether it is the connection's last, and the size of its body if that is beyond doubt."""
    method = random.choice(METHODS)
    side = random.choice("nl")
    target = random.choice([f"/{side}/{number}"] * 6 + [f"/{side}/{number}?a=b", f"http://localhost/{side}/{number}"])
    version = random.choice(["1.1"] * 9 + ["1.0"])
    headers = [f"{method} {target} HTTP/{version}", "Host: localhost"]
    closes = version == "1.0"
    if random.random() < 0.3:
        headers += random.choice(UPGRADES)
        closes = closes and "keep-alive" not in "".join(headers)
    elif random.random() < 0.15:
        headers.append(random.choice(["Connection: close", "Connection: x, Close", "Connection: keep-alive"]))
        closes = "lose" in headers[-1] or (closes and "keep-alive" not in headers[-1])
    body = _body(random, number, stream)
    size: int | None = len(body)
    if random.random() < 0.05 and body and version == "1.1":
        headers.append("Expect: 100-continue")
    kind = random.random()
    if kind < 0.35:
        headers.append(f"Content-Length: {len(body)}")
    elif kind < 0.6 and version == "1.1":
        headers.append(random.choice(["Transfer-Encoding: chunked", "transfer-encoding: Chunked"]))
        body = _chunks(random, body)
    elif kind < 0.75:
        headers.append(random.choice(UNCLEAR).format(n=len(body)))
        size = None
        if "Encoding: chunked" in headers[-1].replace("Transfer_E", "") and random.random() < 0.7:
            body = _chunks(random, body)
    else:
        body, size = b"", 0
    end = "\n" if random.random() < 0.02 else "\r\n"
    return end.join([*headers, "", ""]).encode("latin-1") + body, closes, size


def _body(random: Random, number: int, stream: Stream) -> bytes:
    stream.never.update((number + 1, number + 2))
    hidden = [f"GET /n/{number + 1} HTTP/1.1\r\nHost: localhost\r\n\r\n",
              f"POST /l/{number + 2} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"]  # fmt: skip
    return random.choice([
        b"x" * random.randrange(1, 50),
        b"\r\n" * random.randrange(1, 4000),
        b"\n" * random.randrange(1, 90_000) + hidden[0].encode(),
        hidden[0].encode(),
        b"0\r\n\r\n" + hidden[1].encode(),
        random.randbytes(random.randrange(1, 200)),
        (hidden[0] + hidden[1]).encode(),
    ])  # fmt: skip


def _chunks(random: Random, body: bytes) -> bytes:
    data = b""
    while body:
        size = min(len(body), random.choice((1, 7, 100, 5000, 100_000)))
        length = random.choice([b"%x", b"%X", b"0%x"]) % size
        data += length + random.choice([b""] * 6 + [b";a=b", b' ;a="b"', b";\t"]) + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    odd = random.choice([b"0\r\n\r\n"] * 12 + [b"0\r\nX: y\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n", b"0\n\n",
                                              b"0\r\n\n", b"00000\r\n\r\n", b"-0\r\n\r\n", b"0;\r\n\r\n"])  # fmt: skip
    return data + odd
