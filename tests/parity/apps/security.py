"""Accounts with Flask-Security: registering, logging in, roles, tokens, changing a password."""

import os

from flask import Flask, jsonify, render_template_string
from flask_security import (
    RoleMixin,
    Security,
    SQLAlchemyUserDatastore,
    UserMixin,
    auth_required,
    current_user,
    hash_password,
    roles_required,
)
from flask_sqlalchemy import SQLAlchemy

app = Flask(__name__)
app.config.update(
    SECRET_KEY="key",
    SECURITY_PASSWORD_SALT="salt",
    SECURITY_PASSWORD_HASH="plaintext",
    SECURITY_PASSWORD_SCHEMES=["plaintext"],
    SECURITY_DEPRECATED_PASSWORD_SCHEMES=[],
    SECURITY_HASHING_SCHEMES=["hex_md5"],
    SECURITY_REGISTERABLE=True,
    SECURITY_CHANGEABLE=True,
    SECURITY_TRACKABLE=True,
    SECURITY_SEND_REGISTER_EMAIL=False,
    SECURITY_SEND_PASSWORD_CHANGE_EMAIL=False,
    SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False},
    SQLALCHEMY_DATABASE_URI=f"sqlite:///{os.environ['DATA_FOLDER']}/accounts.sqlite",
)
db = SQLAlchemy(app)
members = db.Table("members", db.Column("user", db.ForeignKey("user.id")), db.Column("role", db.ForeignKey("role.id")))


class Role(db.Model, RoleMixin):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(80), unique=True)
    permissions = db.Column(db.Text)


class User(db.Model, UserMixin):
    id = db.Column(db.Integer, primary_key=True)
    email = db.Column(db.String(255), unique=True)
    password = db.Column(db.String(255))
    active = db.Column(db.Boolean)
    fs_uniquifier = db.Column(db.String(64), unique=True)
    last_login_at = db.Column(db.DateTime)
    current_login_at = db.Column(db.DateTime)
    last_login_ip = db.Column(db.String(64))
    current_login_ip = db.Column(db.String(64))
    login_count = db.Column(db.Integer)
    roles = db.relationship("Role", secondary=members)


security = Security(app, SQLAlchemyUserDatastore(db, User, Role))

with app.app_context():
    db.create_all()
    store = security.datastore
    store.create_role(name="admin")
    store.create_user(email="anna@example.org", password=hash_password("s3cret-of-anna"), roles=["admin"])
    db.session.commit()


@app.get("/")
def index():
    return render_template_string("{{ current_user.email or 'nobody' }}")


@app.get("/me")
@auth_required("token", "session")
def me():
    return jsonify(email=current_user.email, logins=current_user.login_count, ip=current_user.current_login_ip)


@app.get("/admin")
@roles_required("admin")
def admin():
    return "admin"
