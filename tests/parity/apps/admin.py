"""A back office with Flask-Admin over Flask-SQLAlchemy: lists, forms, inline edits, exports, files."""

import os

from flask import Flask
from flask_admin import Admin, BaseView, expose
from flask_admin.contrib.fileadmin import FileAdmin
from flask_admin.contrib.sqla import ModelView
from flask_babel import Babel
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect

FOLDER = os.environ["DATA_FOLDER"]
app = Flask(__name__)
app.config.update(SECRET_KEY="key", SQLALCHEMY_DATABASE_URI=f"sqlite:///{FOLDER}/admin.sqlite")
db = SQLAlchemy(app)
CSRFProtect(app)
Babel(app)


class Book(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    title = db.Column(db.String(80), nullable=False)
    pages = db.Column(db.Integer)


class BookView(ModelView):
    column_searchable_list = ("title",)
    column_filters = ("pages",)
    column_editable_list = ("pages",)
    can_export = True
    page_size = 5


class Numbers(BaseView):
    @expose("/")
    def index(self):
        return self.render("admin/index.html")


os.makedirs(f"{FOLDER}/files", exist_ok=True)
admin = Admin(app, name="Office")
admin.add_view(BookView(Book, db, name="Books"))
admin.add_view(Numbers(name="Numbers", endpoint="numbers"))
admin.add_view(FileAdmin(f"{FOLDER}/files", name="Files", endpoint="files"))

with app.app_context():
    db.create_all()
    db.session.add_all(Book(title=f"Bück {n}", pages=n * 10) for n in range(12))
    db.session.commit()


@app.get("/")
def index():
    return "office"
