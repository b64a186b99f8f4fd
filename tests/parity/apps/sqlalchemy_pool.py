"""Orders with Flask-SQLAlchemy on SQLite, one connection for everybody; Flask-Migrate makes the tables at start."""

import os
import time

from flask import Flask, jsonify, request
from flask_migrate import Migrate, init, migrate, upgrade
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import QueuePool

FOLDER = os.environ["DATA_FOLDER"]
app = Flask(__name__)
app.config.update(
    SQLALCHEMY_DATABASE_URI=f"sqlite:///{FOLDER}/orders.sqlite",
    SQLALCHEMY_ENGINE_OPTIONS={"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": 20},
)
db = SQLAlchemy(app)
Migrate(app, db, directory=os.path.join(FOLDER, "migrations"))


class Order(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    number = db.Column(db.String(40), unique=True, nullable=False)
    paid = db.Column(db.Boolean, nullable=False, default=False)


with app.app_context():
    init()
    migrate(message="orders")
    upgrade()


@app.get("/")
def index():
    return jsonify(db.session.execute(db.text("select version_num is not null from alembic_version")).scalar())


@app.get("/orders")
def orders():
    page = db.paginate(db.select(Order).order_by(Order.number), per_page=10)
    return jsonify(total=page.total, pages=page.pages, rows=[order.number for order in page])


@app.post("/orders/<number>")
def order(number):
    db.session.add(Order(number=number))
    if request.args.get("declined"):
        db.session.flush()
        return "declined", 402
    try:
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        return "twice", 409
    return number, 201


@app.post("/broken/<number>")
def broken(number):
    db.session.add(Order(number=number))
    db.session.flush()
    raise RuntimeError("after the flush")


@app.get("/orders/<number>")
def one(number):
    found = db.one_or_404(db.select(Order).filter_by(number=number))
    return jsonify(number=found.number, paid=found.paid)


@app.get("/slow/<number>")
async def slow(number):
    found = db.session.scalar(db.select(Order).filter_by(number=number))
    time.sleep(0.01)  # noqa: ASYNC251
    return jsonify(found=found is not None)


@app.get("/streamed")
def streamed():
    def rows():
        with app.app_context():
            for found in db.session.execute(db.select(Order.number).order_by(Order.number)).yield_per(2):
                yield f"{found.number}\n"

    return rows()
