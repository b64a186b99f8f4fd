"""A members' area: Flask-Login knows who somebody is, Flask-Principal what they may do, Flask-WTF guards forms."""

from flask import Flask, current_app, flash, get_flashed_messages, jsonify, redirect, render_template_string, request
from flask_login import (
    LoginManager,
    UserMixin,
    confirm_login,
    current_user,
    fresh_login_required,
    login_required,
    login_user,
    logout_user,
)
from flask_principal import (
    AnonymousIdentity,
    Identity,
    Permission,
    PermissionDenied,
    Principal,
    RoleNeed,
    UserNeed,
    identity_changed,
    identity_loaded,
)
from flask_wtf.csrf import CSRFProtect

app = Flask(__name__)
app.config.update(SECRET_KEY="key", REMEMBER_COOKIE_SAMESITE="Lax", SESSION_COOKIE_SAMESITE="Lax")
CSRFProtect(app)
login_manager = LoginManager(app)
login_manager.login_view = "login"
login_manager.session_protection = "strong"
Principal(app)
ROLES = {"anna": ["editor", "admin"], "bert": ["reader"]}
editors, admins = Permission(RoleNeed("editor")), Permission(RoleNeed("admin"))

FORM = """<form method=post>{% for message in get_flashed_messages() %}<p>{{ message }}</p>{% endfor %}
<input name="csrf_token" value="{{ csrf_token() }}"><input name=name></form>"""


class User(UserMixin):
    def __init__(self, name):
        self.id = name


@login_manager.user_loader
def load_user(name):
    return User(name) if name in ROLES else None


@login_manager.request_loader
def load_from_key(incoming):
    return User("bert") if incoming.headers.get("X-Api-Key") == "bert's" else None


@identity_loaded.connect_via(app)
def add_needs(sender, identity):
    identity.user = current_user
    if current_user.is_authenticated:
        identity.provides.add(UserNeed(current_user.id))
        identity.provides.update(RoleNeed(role) for role in ROLES[current_user.id])


@app.errorhandler(PermissionDenied)
def denied(error):
    return render_template_string("<h1>Not for {{ current_user.id }}</h1>"), 403


@app.get("/")
def index():
    return render_template_string("{{ current_user.id if current_user.is_authenticated else 'nobody' }}")


@app.route("/login", methods=["GET", "POST"])
def login():
    if request.method == "POST":
        name = request.form["name"]
        if name in ROLES:
            login_user(User(name), remember=request.form.get("remember") == "on")
            identity_changed.send(current_app._get_current_object(), identity=Identity(name))
            return redirect(request.args.get("next") or "/")
        flash(f"Nobody is called {name}.")
    return render_template_string(FORM)


@app.post("/logout")
@login_required
def logout():
    logout_user()
    identity_changed.send(current_app._get_current_object(), identity=AnonymousIdentity())
    return redirect("/")


@app.get("/me")
@login_required
def me():
    return jsonify(id=current_user.id, said=get_flashed_messages())


@app.get("/fresh")
@fresh_login_required
def fresh():
    return "fresh"


@app.post("/confirm")
def confirm():
    confirm_login()
    return "", 204


@app.get("/edit")
@login_required
@editors.require()
def edit():
    return "edit"


@app.get("/admin")
@admins.require(http_exception=403)
def admin():
    return "admin"
