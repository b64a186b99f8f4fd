from __future__ import annotations

import pytest
from flask import Flask, session
from flask_login import LoginManager

from graft.verification.identity import Identity, IdentityError, session_of


def shop(secret: str | None = "3f1c9b7a5e2d") -> Flask:
    app = Flask("shop")
    app.secret_key = secret

    @app.get("/")
    def index() -> dict[str, object]:
        return {name: session[name] for name in session}

    return app


def asked(app: Flask, identity: Identity) -> object:
    headers = dict(identity.on((("accept", "text/html"),)))
    return app.test_client(use_cookies=False).get("/", headers=headers).json


def test_a_session_is_made_as_the_app_makes_it() -> None:
    app = shop()
    assert asked(app, session_of(app, "user_id=7,role=admin", None)) == {"user_id": 7, "role": "admin"}


def test_with_flask_login_or_a_known_key_the_user_is_enough() -> None:
    app = shop()
    assert asked(app, session_of(app, "7", "member")) == {"member": 7}
    app = shop()
    LoginManager(app)
    assert asked(app, session_of(app, "7", None)) == {"_user_id": "7", "_fresh": True}
    assert asked(app, session_of(app, "_user_id=7", None)) == {"_user_id": "7"}


@pytest.mark.parametrize(
    ("app", "why"),
    [(shop(), "Write --as KEY=7"), (None, "needs a Flask app"), (shop(secret=None), "no SECRET_KEY")],
)
def test_who_can_not_be_logged_in_is_told_why(app: Flask | None, why: str) -> None:
    with pytest.raises(IdentityError, match=why):
        session_of(app, "7" if why.startswith("Write") else "user_id=7", None)


def test_an_identity_takes_the_place_of_what_was_struck_and_leaves_other_cookies() -> None:
    identity = Identity((("Authorization", "Bearer x"),), (("session", "new"),))
    asked = identity.on((("authorization", "old"), ("cookie", "theme=dark; session=old"), ("accept", "a/b")))
    assert asked == (("accept", "a/b"), ("cookie", "theme=dark; session=new"), ("Authorization", "Bearer x"))
    assert Identity().on((("cookie", "a=b"),)) == (("cookie", "a=b"),)
