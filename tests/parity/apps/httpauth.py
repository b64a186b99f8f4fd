"""An API behind Flask-HTTPAuth: basic, digest, tokens, and several of them at once."""

from flask import Flask, g, jsonify
from flask_httpauth import HTTPBasicAuth, HTTPDigestAuth, HTTPTokenAuth, MultiAuth
from werkzeug.security import check_password_hash, generate_password_hash

app = Flask(__name__)
app.config["SECRET_KEY"] = "key"
basic, digest, token = HTTPBasicAuth(), HTTPDigestAuth(), HTTPTokenAuth(header="X-API-Key")
bearer = HTTPTokenAuth("Bearer")
either = MultiAuth(basic, bearer)
users = {"anna": generate_password_hash("s3cret"), "ünï": generate_password_hash("pä:ss")}


@basic.verify_password
def verify(name, password):
    if name in users and check_password_hash(users[name], password):
        g.by = "password"
        return name


@basic.get_user_roles
def roles(name):
    return ["admin"] if name == "anna" else []


@digest.get_password
def password_of(name):
    return {"anna": "s3cret"}.get(name)


@token.verify_token
@bearer.verify_token
def verify_token(value):
    return "robot" if value == "t0ken" else None


@basic.error_handler
def refused(status):
    return jsonify(error="who are you?"), status


@app.get("/")
def index():
    return "open"


@app.get("/basic")
@basic.login_required
def with_password():
    return jsonify(user=basic.current_user(), by=g.by)


@app.get("/admin")
@basic.login_required(role="admin")
def admin():
    return "admin"


@app.route("/digest", methods=["GET", "POST"])
@digest.login_required
def with_digest():
    return jsonify(user=digest.current_user())


@app.get("/key")
@token.login_required
def with_key():
    return jsonify(user=token.current_user())


@app.get("/either")
@either.login_required
def with_either():
    return jsonify(user=either.current_user())


@app.get("/maybe")
@basic.login_required(optional=True)
def maybe():
    return jsonify(user=basic.current_user())
