"""Flask-Security: the pages of an account, by form and by JSON."""

from tests.parity.visitor import Visitor

PAGES = ("/", "/me", "/admin", "/login", "/register", "/change", "/logout")
ANNA = {"email": "anna@example.org", "password": "s3cret-of-anna"}
NEW = {"email": "new@example.org", "password": "long-enough-secret", "password_confirm": "long-enough-secret"}


def nobody(visitor: Visitor) -> None:
    for page in PAGES:
        visitor.get(page)
        visitor.get(page, headers={"accept": "application/json"})


def anna(visitor: Visitor) -> None:
    visitor.submit("/login", {**ANNA, "password": "wrong"})
    visitor.follow(visitor.submit("/login", {**ANNA, "remember": "y"}))
    for page in PAGES[:3]:
        visitor.get(page)
    visitor.submit("/change", {"password": ANNA["password"], "new_password": "short", "new_password_confirm": "other"})
    visitor.submit("/logout", {}, page="/change")
    visitor.get("/me")


def somebody_new(visitor: Visitor) -> None:
    visitor.submit("/register", {**NEW, "password_confirm": "other"})
    visitor.follow(visitor.submit("/register", NEW))
    visitor.get("/me")
    visitor.get("/admin")
    visitor.submit("/logout", {}, page="/change")
    visitor.submit("/register", NEW)


def a_token(visitor: Visitor) -> None:
    form = visitor.get("/login", headers={"accept": "application/json"}).json()["response"]
    login = {**ANNA, "csrf_token": form["csrf_token"]}
    answer = visitor.post("/login?include_auth_token", json=login, headers={"accept": "application/json"})
    token = answer.json()["response"]["user"]["authentication_token"]
    visitor.forget("session")
    visitor.get("/me", headers={"authentication-token": token})
    visitor.get("/me", headers={"authentication-token": token + "x", "accept": "application/json"})
    visitor.post("/login", json={"email": "x"}, headers={"accept": "application/json"})
