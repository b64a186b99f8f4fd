"""Flask-Babel: each visitor in their language, also when all come at once."""

from tests.parity.visitor import Visitor

LANGUAGES = ("de", "en-GB,en;q=0.8", "fr;q=0.9,ja", "ar", "pt-BR", "xx", "")


def languages(visitor: Visitor) -> None:
    for language in LANGUAGES:
        visitor.get("/", headers={"accept-language": language})
        visitor.get("/?zone=Asia/Tokyo", headers={"accept-language": language})


def the_session_decides(visitor: Visitor) -> None:
    visitor.post("/language/ja")
    visitor.get("/", headers={"accept-language": "de"})


def everybody_at_once(visitor: Visitor) -> None:
    zones = ("Europe/Berlin", "Asia/Tokyo", "America/Sao_Paulo")
    visitor.crowd(
        [
            ("GET", f"/?zone={zones[n % 3]}", {"headers": {"accept-language": LANGUAGES[n % len(LANGUAGES)]}})
            for n in range(80)
        ]
    )
