"""A page in many languages: Flask-Babel picks language and time zone for each request."""

import datetime

from flask import Flask, jsonify, request, session
from flask_babel import (
    Babel,
    force_locale,
    format_currency,
    format_datetime,
    format_decimal,
    format_timedelta,
    get_locale,
    get_timezone,
    gettext,
    lazy_gettext,
)

app = Flask(__name__)
app.config.update(SECRET_KEY="key", BABEL_DEFAULT_LOCALE="en")
GREETING = lazy_gettext("Hello")
WHEN = datetime.datetime(2026, 1, 31, 22, 30, tzinfo=datetime.UTC)


def choose_locale():
    return session.get("language") or request.accept_languages.best_match(["de", "en", "fr", "ja", "ar", "pt_BR"])


Babel(app, locale_selector=choose_locale, timezone_selector=lambda: request.args.get("zone"))


@app.get("/")
def index():
    with force_locale("fr"):
        french = format_decimal(1234567.891)
    return jsonify(
        locale=str(get_locale()),
        zone=str(get_timezone()),
        when=format_datetime(WHEN, "full"),
        price=format_currency(1099.5, "EUR"),
        number=format_decimal(1234567.891),
        ago=format_timedelta(datetime.timedelta(days=-3), add_direction=True),
        french=french,
        text=[str(GREETING), gettext("%(n)s rows", n=3)],
    )


@app.post("/language/<language>")
def language(language):
    session["language"] = language
    return "", 204
