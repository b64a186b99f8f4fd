"""Extensions that keep something beside the request."""

from urllib.parse import urlsplit

from tests.parity.visitor import Visitor


def sessions_in_files(visitor: Visitor) -> None:
    for _ in range(3):
        visitor.get("/count")
    visitor.get("/forget")
    visitor.get("/count")
    visitor.get("/count", headers={"cookie": "session=somebody-else"})


def mail_from_the_view_and_from_a_thread(visitor: Visitor) -> None:
    visitor.get("/mail")
    assert len(visitor.get("/mail").json()) == 2


def futures_have_the_request_s_context(visitor: Visitor) -> None:
    visitor.get("/futures?word=one")
    visitor.get("/futures")


def bundles_are_built_once_and_served(visitor: Visitor) -> None:
    for _ in range(2):
        visitor.get(visitor.get("/assets").text)


def photos_are_kept_or_refused(visitor: Visitor) -> None:
    where = visitor.post("/photo", files={"photo": ("a.png", b"png" * 100_000)}).text
    visitor.get(urlsplit(where).path)
    visitor.post("/photo", files={"photo": ("b.png", b"png" * 100_000)}, headers={"authorization": "Basic x"})
    visitor.post("/photo", files={"photo": ("a.exe", b"exe")})
    visitor.post("/photo")


def tokens_are_asked_for(visitor: Visitor) -> None:
    token = visitor.post("/token", data={"name": "ann"}).json()["token"]
    for value in (None, f"Bearer {token}", f"Bearer {token}x", "Bearer x.y.z", "Basic x", "Bearer"):
        visitor.get("/private", headers={"authorization": value} if value is not None else {})
