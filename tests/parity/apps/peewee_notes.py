"""Notes with peewee, connected before each request and closed after it, as its documentation has it."""

import os

from flask import Flask, abort, g, jsonify, request
from peewee import CharField, IntegrityError, Model, SqliteDatabase, fn
from playhouse.shortcuts import model_to_dict

app = Flask(__name__)
db = SqliteDatabase(
    os.path.join(os.environ["DATA_FOLDER"], "notes.sqlite"), pragmas={"journal_mode": "wal"}, timeout=20
)


class Note(Model):
    class Meta:
        database = db

    title = CharField(unique=True)


db.connect()
db.create_tables([Note])
db.close()


@app.before_request
def connect():
    db.connect()
    g.opened = not db.is_closed()


@app.teardown_request
def close(error):
    if not db.is_closed():
        db.close()


@app.get("/")
def index():
    return jsonify(
        count=Note.select().count(), longest=Note.select(fn.MAX(fn.LENGTH(Note.title))).scalar(), open=g.opened
    )


@app.post("/notes")
@db.atomic()
def add():
    try:
        return jsonify(model_to_dict(Note.create(title=request.json["title"]))), 201
    except IntegrityError:
        abort(409)


@app.get("/notes/<title>")
async def note(title):
    found = Note.get_or_none(Note.title == title)
    return model_to_dict(found) if found else abort(404)


@app.post("/broken")
def broken():
    with db.atomic():
        Note.create(title="broken")
        raise RuntimeError("rolled back")
