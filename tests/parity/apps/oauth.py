"""Logging in at another site with Authlib's Flask client; the other site is in this app, too."""

from urllib.parse import urlencode

import requests
from authlib.integrations.flask_client import OAuth, OAuthError
from flask import Flask, jsonify, redirect, request, session, url_for

app = Flask(__name__)
app.config.update(SECRET_KEY="key")
oauth = OAuth(app)


class SameProcess(requests.adapters.BaseAdapter):
    """The other site's answers, without the network."""

    def send(self, prepared, **options):
        path = "/" + prepared.url.split("/", 3)[3]
        headers = {name: value for name, value in prepared.headers.items() if name != "Content-Length"}
        answer = app.test_client().open(path, method=prepared.method, data=prepared.body, headers=headers)
        response = requests.Response()
        response.status_code, response._content = answer.status_code, answer.data
        response.headers.update(answer.headers)
        response.request, response.url = prepared, prepared.url
        return response

    def close(self):
        pass


def mount(client):
    client.mount("http://", SameProcess())


oauth.register(
    "other",
    client_id="me",
    client_secret="s3cret",
    authorize_url="http://other.example/other/authorize",
    access_token_url="http://other.example/other/token",
    api_base_url="http://other.example/other/",
    client_kwargs={"scope": "profile", "code_challenge_method": "S256"},
    compliance_fix=mount,
)


@app.get("/")
def index():
    return jsonify(user=session.get("user"))


@app.get("/login")
def login():
    return oauth.other.authorize_redirect(url_for("callback", _external=True))


@app.get("/callback")
def callback():
    try:
        token = oauth.other.authorize_access_token()
    except OAuthError as error:
        return jsonify(error=error.error, description=error.description), 400
    session["user"] = oauth.other.get("user", token=token).json()
    return redirect("/")


@app.get("/other/authorize")
def authorize():
    if request.args.get("deny"):
        answer = {"error": "access_denied", "state": request.args["state"]}
    else:
        answer = {"code": "c0de", "state": request.args["state"]}
    return redirect(f"{request.args['redirect_uri']}?{urlencode(answer)}")


@app.post("/other/token")
def token():
    if request.form["code"] != "c0de" or not request.form.get("code_verifier"):
        return jsonify(error="invalid_grant"), 400
    return jsonify(access_token="t0ken", token_type="Bearer", expires_in=3600)


@app.get("/other/user")
def user():
    return jsonify(name="Änna") if request.headers.get("Authorization") == "Bearer t0ken" else ("", 401)
