"""Flask-Admin: books are listed, added, edited, exported, deleted; files come and go."""

from tests.parity.visitor import Visitor

BOOKS = "/admin/book/"


def lists(visitor: Visitor) -> None:
    for path in ("/admin/", "/admin", "/admin/numbers/", "/admin/static/admin/css/bootstrap4/admin.css"):
        visitor.get(path)
    for query in ("", "?page=1", "?search=1", "?sort=1&desc=1", "?flt1_0=50", "?page=99", "?page_size=100"):
        visitor.get(BOOKS + query)
    visitor.get(BOOKS + "export/csv/")


def books(visitor: Visitor) -> None:
    new, edit = BOOKS + "new/?url=/admin/book/", BOOKS + "edit/?id=3"
    visitor.follow(visitor.submit(new, {"title": "Äpfel", "pages": "7"}))
    visitor.submit(new, {"title": "", "pages": "many"})
    visitor.submit(edit, {"title": "changed", "pages": "1", "_continue_editing": "1"})
    visitor.get(BOOKS + "edit/?id=999")
    visitor.submit(BOOKS + "ajax/update/", {"list_form_pk": "4", "pages": "44"}, page=BOOKS)
    visitor.submit(BOOKS + "delete/", {"id": "5", "url": BOOKS}, page=BOOKS)
    visitor.submit(BOOKS + "action/", {"action": "delete", "rowid": ["6", "7"]}, page=BOOKS)
    visitor.post(BOOKS + "delete/", data={"id": "8"})
    visitor.get(BOOKS + "?page_size=100")


def files(visitor: Visitor) -> None:
    visitor.submit("/admin/files/mkdir/", {"name": "new"})
    visitor.submit("/admin/files/upload/", {}, files={"upload": ("big.bin", b"0123456789" * 100_000)})
    visitor.submit("/admin/files/upload/", {})
    visitor.get("/admin/files/download/big.bin")
    visitor.get("/admin/files/download/big.bin", headers={"range": "bytes=999990-"})
    visitor.get("/admin/files/download/../../admin.sqlite")
    visitor.submit("/admin/files/delete/", {"path": "big.bin"}, page="/admin/files/upload/")
