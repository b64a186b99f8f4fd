"""Flask's tutorial app as it is, with a database of its own."""

import os

from flaskr import create_app
from flaskr.db import init_db

app = create_app({"SECRET_KEY": "key", "DATABASE": os.path.join(os.environ["DATA_FOLDER"], "flaskr.sqlite")})
with app.app_context():
    init_db()
