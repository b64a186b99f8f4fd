"""Five hundred secrets are planted everywhere that an answer or a request has room, and none is in what is stored."""

from __future__ import annotations

import json
import logging
import random
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from prometheus_client import generate_latest
from starlette.responses import JSONResponse, Response

from graft.figures.prometheus import REGISTRY
from graft.figures.recorder import Recorder
from graft.mirroring.answers import Answer, Headers
from graft.mirroring.compare import Comparison, compare
from graft.mirroring.differences import DifferenceWriter
from graft.mirroring.differences.document import Redaction, document_of
from graft.mirroring.differences.sqlite import SqliteStore
from graft.mirroring.mirror import Mirror
from graft.mirroring.mirrored import Mirrored
from graft.mirroring.redact import GONE, MARGIN, SHOWN, Redactor
from graft.operations.state import Event
from graft.operations.switch import Switch
from graft.operations.webhook_message import message_of
from graft.switching.switchboard import Switchboard
from graft.types import Receive, RouteKey, Scope, Send, Side
from tests.planted.shapes import MODELLED, START, Request
from tests.planted.shapes import Side as Drawn
from tests.switching.asking import KEY, ask, scope_of, switched, until

NAMES = """
password newPassword user_passwd access_token X-Api-Key clientSecret sid csrf_token refresh-token private_key session_id
passwort Kennwort geheimnis zugangscode api_schluessel motDePasse mot_de_passe mdp jeton code_secret clé_api
contraseña clave secreto clave_api parola_chiave segreto gettone chiave_api senha palavra-passe segredo chave_api
wachtwoord toegangscode hasło zeton şifre parola gizli_anahtar пароль секрет токен 密码 密碼 令牌 密钥 パスワード
totp_seed sess privKey lozinka ססמה סיסמה รหัสผ่าน seed_phrase geslo
トークン 暗証番号 비밀번호 토큰 كلمة_المرور पासवर्ड lösenord adgangskode passord salasana jelszó kata_sandi heslo
""".split()  # noqa: SIM905
"""In more than twelve languages."""

NUMBERS = """
pin user_pin login_pin mfa mfa_code nino passport_no aadhaar dob date_of_birth geburtsdatum
cvv card_number ssn phone mobile_number Telefon telefonnummer handy téléphone teléfono cellulare
telefone telefoonnummer pesel bsn dni cpf codice_fiscale personnummer kontonummer kartennummer numéro_carte fax iban
tarjeta_credito kart_no телефон снилс 手机 电话 身份证 電話番号 カード番号 전화번호 주민등록번호
""".split()  # noqa: SIM905


def word(chance: random.Random) -> str:
    return (
        "".join(chance.choices(string.ascii_lowercase, k=9)) + "-" + "".join(chance.choices(string.ascii_letters, k=4))
    )


def luhn(digits: str) -> str:
    total = sum(int(d) if n % 2 else sum(divmod(2 * int(d), 10)) for n, d in enumerate(digits))
    return digits + str(-total % 10)


def iban(chance: random.Random) -> str:
    account = "".join(chance.choices(string.digits, k=18))
    check = 98 - int("".join(str(int(letter, 36)) for letter in account + "DE00")) % 97
    return f"DE{check:02}{account}"


def shaped(chance: random.Random, number: int) -> str:
    """A secret that shows by its shape, wherever it stands."""
    letters = string.ascii_letters + string.digits
    kinds = [
        lambda: "eyJ" + ".".join("".join(chance.choices(letters, k=k)) for k in (20, 40, 43)),
        lambda: "".join(chance.choices(string.hexdigits[:16], k=40)),
        lambda: "".join(chance.choices(letters, k=32)),
        lambda: f"{word(chance).split('-')[0]}@mail{number}.example.org",
        lambda: luhn("4" + "".join(chance.choices(string.digits, k=14))),
        lambda: " ".join(re.findall("....", luhn("53" + "".join(chance.choices(string.digits, k=13))))),
        lambda: iban(chance),
        lambda: f"+49 {chance.randrange(150, 179)} {chance.randrange(10**6, 10**7)}",
        lambda: f"({chance.randrange(200, 999)}) {chance.randrange(200, 999)}-{chance.randrange(1000, 9999)}",
        lambda: f"{chance.randrange(100, 665)}-{chance.randrange(10, 99)}-{chance.randrange(1000, 9999)}",
        lambda: f"203.0.{chance.randrange(256)}.{chance.randrange(1, 255)}",
        lambda: f"2001:db8::{chance.randrange(16**4):x}:{chance.randrange(1, 16**4):x}",
        lambda: "sk_live_" + "".join(chance.choices(letters, k=24)),
    ]
    return kinds[number % len(kinds)]()


PLACES = ("json value", "json key", "path", "header", "query value", "html text", "traceback text", "next")
RESETS = ("reset", "password-reset", "invite", "bestaetigen")


def planted() -> Iterator[tuple[str, Any]]:
    """Each secret, the kind of place that it is planted into, and its name there."""
    chance = random.Random(500)
    for name in NAMES:
        for place in ("json", "form", "query", "html", "traceback"):
            yield word(chance), (place, name)
    for name in NUMBERS:
        for place in ("json", "form"):
            yield str(chance.randrange(10**8, 10**9)), (place, name)
    for number in range(104):
        place = ("json value", "json key", "path", "header", "query value", "html text", "traceback text", "next")[
            number % 8
        ]
        yield shaped(chance, number // 8 * 8 + number % 13), (place, "note")
    for number in range(20):
        yield (
            f"{chance.getrandbits(40):010x}",
            ("reset path", ("reset", "password-reset", "invite", "bestaetigen")[number % 4]),
        )


PLANTED = list(planted())


def mirrored_with(secret: str, place: str, name: str) -> Mirrored:
    scope: dict[str, Any] = {"method": "POST", "path": "/thing", "query_string": b"", "headers": [], "state": {}}
    body, kind, request_body, error = "{}", "application/json", b"", None
    if place in ("json", "json value"):
        body = json.dumps({"items": [{name: secret, "n": 1}]}, ensure_ascii=place == "json")
    elif place == "json key":
        body = json.dumps({"by": {secret: 1}})
    elif place == "form":
        request_body = f"a=1&{quote_plus(name)}={quote_plus(secret)}".encode()
        scope["headers"] = [(b"content-type", b"application/x-www-form-urlencoded")]
    elif place in ("query", "query value"):
        scope["query_string"] = f"a=1&{quote_plus(name)}={quote_plus(secret)}".encode()
    elif place == "next":
        inner = f"/reset/done?token={quote_plus(secret)}"
        scope["query_string"] = f"next={quote(inner, safe='')}".encode()
    elif place == "path":
        scope["path"] = f"/files/{secret}/view"
    elif place == "reset path":
        scope["path"] = f"/{name}/{secret}/"
    elif place == "header":
        scope["headers"] = [(b"x-note", f"see {secret} there".encode())]
    elif place == "html":
        body, kind = f"<form><input name='{name}' value='{secret}'></form>", "text/html"
    elif place == "html text":
        body, kind = f"<p class=a>Hello <b>{secret}</b>, welcome</p>", "text/html"
    else:
        error = (
            f"Traceback:\n  File x\nValueError: {name}={secret}"
            if place == "traceback"
            else f"ValueError: no {secret} here"
        )
    native = Answer(Side.NATIVE, 500 if error else 200, ((b"content-type", kind.encode()),), body.encode(), 1.0, error)
    legacy = Answer(Side.LEGACY, 200, ((b"content-type", kind.encode()),), b"[]" if "json" in kind else b"<p>x", 1.0)
    differences = compare(native, legacy, Comparison.of(Switch()))
    return Mirrored(RouteKey("POST", "/thing"), Side.LEGACY, scope, request_body, Switch(), native, legacy, differences)


def stored(mirrored: Mirrored, redaction: Redaction) -> str:
    kept = document_of(mirrored, redaction)
    return json.dumps([kept.what, kept.detail], ensure_ascii=False)


def test_there_are_five_hundred() -> None:
    assert len(PLANTED) >= 500


@pytest.mark.parametrize("shape", [False, True])
def test_no_planted_secret_is_stored(shape: bool) -> None:
    leaked = []
    for secret, (place, name) in PLANTED:
        text = stored(mirrored_with(secret, place, name), Redaction(b"key", shape))
        if secret in text or secret.replace("@", "%40") in text:
            leaked.append((secret, place, name))
    assert leaked == []


def test_by_shape_no_value_is_stored_at_all() -> None:
    mirrored = mirrored_with("harmless words", "json", "title")
    text = stored(mirrored, Redaction(b"key", shape=True))
    assert "harmless" not in text
    assert "harmless" in stored(mirrored, Redaction(b"key"))


def test_equal_secrets_are_recognisable_with_one_key_and_not_with_another() -> None:
    one, same, other = Redactor(key=b"a"), Redactor(key=b"a"), Redactor(key=b"b")
    assert one.strike("x") == same.strike("x") != one.strike("y")
    assert one.strike("x") != other.strike("x")


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, name)
    else:
        yield name, value


SECRETS = {"token", "hash", "email"}
"""Fields of the shapes that are secrets, or look like one."""


def test_less_than_one_in_a_hundred_harmless_fields_is_struck_out() -> None:
    redactor = Redactor()
    struck, fields = [], 0
    for name, shape in MODELLED.items():
        for item in range(40):
            body = shape(Request(item, item, 1, START), Drawn("a")).body
            if isinstance(body, str):
                continue
            for (field, before), (_, after) in zip(leaves(body), leaves(redactor.value(body)), strict=True):
                if field not in SECRETS:
                    fields += 1
                    struck += [(name, field, before)] if GONE in str(after) else []
    assert fields > 10_000
    assert len(struck) < fields / 100, struck[:20]


@pytest.mark.parametrize(
    "harmless",
    [
        {
            "tokens_used": 17,
            "max_tokens": 4096,
            "token_type": "bearer",
            "password_policy": "long",
            "session_timeout": 30,
        },
        {"code": "not_found", "error_code": "E1001", "country_code": "DE", "state": "open", "key": "title", "page": 12},
        {
            "version": "2.14.0",
            "build": "2026.11.27",
            "slug": "a-river-runs-through-it-2024",
            "took": 1.25,
            "size": 1234567,
        },
        {
            "id": "0b8f2c1e-4d2a-4f6b-9a51-0e7a3b1c2d3e",
            "created_at": "2026-11-27T21:15:00.123+00:00",
            "epoch": 1790000000123,
        },
        {
            "path": "/static/js/vendor/application.min.js",
            "class": "btn btn-primary",
            "mobile": True,
            "author": "Ada Lovelace",
        },
        {"isbn": "978-3-16-148410-0", "coordinates": [52.520008, 13.404954], "color": "#ff8800", "host": "127.0.0.1"},
    ],
)
def test_harmless_fields_stay(harmless: dict[str, Any]) -> None:
    assert Redactor().value(harmless) == harmless


CUTS = [*range(SHOWN - 60, SHOWN + 600, 97), SHOWN - 20, SHOWN - 5, SHOWN + MARGIN - 20, SHOWN + MARGIN - 5]


@pytest.mark.parametrize("number", range(13))
@pytest.mark.parametrize("kind", ["text/plain", "text/html", "application/json", "application/x-www-form-urlencoded"])
def test_no_part_of_a_secret_stays_where_a_text_is_cut(kind: str, number: int) -> None:
    """Wherever the cut meets it; what stands in front of it shrinks and grows while it is redacted."""
    chance = random.Random(number)
    fronts = [
        "word ",
        "a=b&",
        "key-4111 ",
        f"{'k3Y' * 20}{chance.random()} x ",
        "token=abcdef, ",
        "<p>",
        "Lorem ipsum ",
    ]
    for index, at in enumerate(CUTS):
        secret = shaped(chance, number)
        front = fronts[index % len(fronts)]
        before = (front * SHOWN)[: at - 3].rstrip("=:") + " x "
        body = json.dumps({"a": before + secret + " behind " * 20}) if kind == "application/json" else None
        stored = Redactor().body((body or before + secret + " behind" * 20).encode(), kind)
        parts = {secret[start : start + 8] for start in range(len(secret) - 7)}
        assert not [part for part in parts if part in stored], (front, at, secret, stored[-600:])


def test_a_number_in_front_of_a_card_does_not_hide_it() -> None:
    assert Redactor().text("paid 2 4111 1111 1111 1111 today").startswith(f"paid 2 {GONE}:")


async def test_no_planted_secret_stands_in_the_store_the_logs_or_the_metrics(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Through the mirror: each is in the request, in the native answer or in what the native side raises."""
    caplog.set_level(logging.DEBUG)
    store = SqliteStore(tmp_path / "differences.sqlite3")
    left = {number: mirrored_with(secret, *where) for number, (secret, where) in enumerate(PLANTED)}

    async def native(scope: Scope, receive: Receive, send: Send) -> None:
        number = scope["state"]["number"]
        secret, (place, name) = PLANTED[number]
        if place.startswith("traceback"):
            raise ValueError(f"{name}={secret}" if place == "traceback" else f"no {secret} here")
        await Response(left[number].native.body, 200, dict(_text(left[number].native.headers)))(scope, receive, send)

    counted = Recorder()
    async with DifferenceWriter(store, every=0.05) as differences:
        mirror = Mirror(recorder=counted, keeper=differences, waiting=1000, quiet=0.05)
        board = Switchboard(KEY, native, JSONResponse([]), mirror=mirror, recorder=counted)
        board.follow(switched(KEY, mirror=100.0))
        async with mirror:
            for number, mirrored in left.items():
                state = {"number": number, "request_id": f"id-{number}"}
                await ask(board, {**scope_of(), **mirrored.scope, "method": "GET", "state": state})
                if number % 10 == 9:
                    await until(lambda: not mirror._jobs and not mirror._running)
                    await differences.flush()
    assert len(await store.newest()) == 100
    seen = caplog.text + store.path.read_bytes().decode("utf-8", "replace") + generate_latest(REGISTRY).decode()
    assert "the native side failed: ValueError" in caplog.text
    assert [(secret, where) for secret, where in PLANTED if secret in seen] == []


def _text(headers: Headers) -> Iterator[tuple[str, str]]:
    return ((name.decode(), value.decode()) for name, value in headers)


def test_no_planted_secret_is_in_the_message_of_a_webhook() -> None:
    """A route trips with what an exception said, a person writes why: in texts, and in what was set."""
    redactor, leaked = Redactor(key=b"key"), []
    for secret, (place, name) in PLANTED:
        if name == "note":
            reasons = [f"no {secret} here"]
        elif place == "reset path":
            reasons = [f"/{name}/{secret}/ broke"]
        else:
            reasons = [f"ValueError: {name}={secret}", f"{name}: {secret}, said Ada", f"{name}: '{secret}'"]
        for why in reasons:
            after = {"hold": why, "climb": {"why": why}, "trips": [why]}
            event = Event(RouteKey("GET", "/thing"), "trip", why, why, {"hold": why}, after)
            told = json.dumps(json.loads(message_of(event, redactor)), ensure_ascii=False)
            leaked += [(secret, why)] if secret in told else []
    assert leaked == []


@pytest.mark.parametrize("secret", ["ab1", "cornflower-5"])
def test_a_secret_that_a_neighbour_names_is_not_stored_in_whatever_order_the_rows_are(secret: str) -> None:
    rows = [{"name": name, "value": f"{name} {n}"} for n, name in enumerate(("title", "page", "city"))]
    password = {"name": "password", "value": secret}
    json_type = ((b"content-type", b"application/json"),)
    native = Answer(Side.NATIVE, 200, json_type, json.dumps([*rows, {**password, "value": "zz9"}]).encode(), 1.0)
    legacy = Answer(Side.LEGACY, 200, json_type, json.dumps([password, *rows]).encode(), 1.0)
    found = compare(native, legacy, Comparison.of(Switch()))
    assert any(each.legacy == secret for each in found)
    scope = {"method": "GET", "path": "/thing", "query_string": b"", "headers": [], "state": {}}
    mirrored = Mirrored(RouteKey("GET", "/thing"), Side.LEGACY, scope, b"", Switch(), native, legacy, found)
    text = stored(mirrored, Redaction(b"key"))
    assert secret not in text
    assert "zz9" not in text
    assert "city 2" in text


PAGES = [
    "<table><tr><th>passwort</th><td>{}</td></tr></table>",
    "<table><thead><tr><th>user</th><th>Password</th></tr></thead><tbody><tr><td>anna</td><td>{}</td></tr></tbody></table>",
    "<table><tr><td>otp</td><td>{}</td></tr></table>",
    "<dl><dt>contraseña</dt><dd>{}</dd></dl>",
    "<p><label>Kennwort:</label> <span>{}</span></p>",
    "<p><b>Password:</b> {}</p>",
    "<form><textarea name='secret'>{}</textarea></form>",
    "<p>Password: <code>{}</code></p>",
]


@pytest.mark.parametrize("filler", ["", "<p>words of no secret at all</p>" * 500], ids=["at the top", "far down"])
@pytest.mark.parametrize("page", PAGES)
def test_a_value_of_a_page_that_its_label_names_is_not_in_the_list_of_differences(page: str, filler: str) -> None:
    """The list has it without what stands around it, and far down the page is not stored any more."""
    native, legacy = "493021", "Hund17!"
    answers = [
        Answer(
            side,
            200,
            ((b"content-type", b"text/html"),),
            f"<html><body>{filler}{page.format(said)}</body></html>".encode(),
            1.0,
        )
        for side, said in ((Side.NATIVE, native), (Side.LEGACY, legacy))
    ]
    differences = compare(*answers, Comparison.of(Switch()))
    assert differences
    mirrored = Mirrored(KEY, Side.LEGACY, scope_of(), b"", Switch(), *answers, differences)
    detail = document_of(mirrored, Redaction(b"key")).detail
    assert GONE in str(detail["differences"])
    assert native not in str(detail)
    assert legacy not in str(detail)


def test_a_value_of_a_pair_is_named_by_the_other_one_in_the_list_of_differences() -> None:
    filler = [["x-page", "n" * 30]] * 400
    answers = [
        Answer(
            side,
            200,
            ((b"content-type", b"application/json"),),
            json.dumps([*filler, ["password", said]]).encode(),
            1.0,
        )
        for side, said in ((Side.NATIVE, "cornflower"), (Side.LEGACY, "daffodil"))
    ]
    differences = compare(*answers, Comparison.of(Switch()))
    detail = document_of(Mirrored(KEY, Side.LEGACY, scope_of(), b"", Switch(), *answers, differences)).detail
    assert GONE in str(detail["differences"])
    assert "cornflower" not in str(detail)
