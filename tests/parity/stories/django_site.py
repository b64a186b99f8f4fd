"""Django: its admin, logged in and not; sessions, uploads, streams, files."""

from tests.parity.visitor import Visitor

USER = {"username": "new", "password1": "long-enough-5", "password2": "long-enough-5", "usable_password": "true"}


def pages(visitor: Visitor) -> None:
    for path in ("/", "/", "/stream", "/source", "/async/", "/async", "/broken", "/none", "/admin/", "/%C3%BC?a=%20"):
        visitor.get(path)
        visitor.get(path, headers={"accept-encoding": "gzip"})
    for method in ("HEAD", "OPTIONS", "PUT"):
        visitor.ask(method, "/")


def uploads(visitor: Visitor) -> None:
    visitor.post("/upload", files={"file": ("ü.bin", b"x" * 4_000_000)}, data={"a": ["1", "ü"]})
    visitor.post("/upload", content=b"y" * 100_000)
    visitor.post("/upload", content=iter([b"chunk"] * 50), headers={"content-type": "text/plain"})
    visitor.post("/upload", data={"a": "1"})


def the_admin(visitor: Visitor) -> None:
    visitor.post("/admin/login/", data={"username": "anna", "password": "s3cret"})
    visitor.submit("/admin/login/?next=/admin/", {"username": "anna", "password": "wrong"})
    visitor.follow(visitor.submit("/admin/login/?next=/admin/", {"username": "anna", "password": "s3cret"}))
    for path in (
        "/admin/auth/user/",
        "/admin/auth/user/?q=ann&o=1",
        "/admin/auth/user/1/change/",
        "/admin/auth/user/9/change/",
    ):
        visitor.get(path)
    visitor.follow(visitor.submit("/admin/auth/user/add/", USER))
    visitor.submit("/admin/auth/user/add/", USER)
    visitor.submit("/admin/auth/user/2/delete/", {"post": "yes"})
    visitor.submit("/admin/logout/", {}, page="/admin/")
    visitor.get("/admin/")


def everybody_at_once(visitor: Visitor) -> None:
    visitor.crowd([("GET", ("/async/", "/stream", "/none")[n % 3], {}) for n in range(60)])
