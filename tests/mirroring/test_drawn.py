"""What was drawn at random, and what somebody wrote: over thousands of values of each kind that applications draw."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable

import pytest

from graft.mirroring.drawn import are_drawn, is_drawn
from tests.planted.shapes import WORDS

CHANCE = random.Random()


def of(letters: str, size: int) -> str:
    return "".join(CHANCE.choices(letters, k=size))


def hexadecimal(size: int) -> str:
    return CHANCE.randbytes(size).hex()


def urlsafe(size: int) -> str:
    return base64.urlsafe_b64encode(CHANCE.randbytes(size)).rstrip(b"=").decode()


CAPITALS, SMALL = string.ascii_uppercase + string.digits, string.ascii_lowercase + string.digits
BASE62 = string.ascii_letters + string.digits
TOKENS: dict[str, Callable[[], str]] = {
    "secrets.token_hex(8)": lambda: hexadecimal(8),
    "secrets.token_hex(10)": lambda: hexadecimal(10),
    "secrets.token_hex(16)": lambda: hexadecimal(16),
    "secrets.token_hex(32)": lambda: hexadecimal(32),
    "secrets.token_urlsafe(10)": lambda: urlsafe(10),
    "secrets.token_urlsafe(12)": lambda: urlsafe(12),
    "secrets.token_urlsafe(16)": lambda: urlsafe(16),
    "secrets.token_urlsafe(32)": lambda: urlsafe(32),
    "base32 of 10 bytes": lambda: base64.b32encode(CHANCE.randbytes(10)).decode(),
    "base62, 16": lambda: of(BASE62, 16),
    "base62, 22": lambda: of(BASE62, 22),
    "nanoid": lambda: of(BASE62 + "_-", 21),
}
SHORT: dict[str, Callable[[], str]] = {
    "secrets.token_hex(6)": lambda: hexadecimal(6),
    "secrets.token_urlsafe(8)": lambda: urlsafe(8),
    "uuid4().hex[:8]": lambda: hexadecimal(4),
    "base62, 12": lambda: of(BASE62, 12),
    "base36, 10": lambda: of(CAPITALS, 10),
    "base36, 12": lambda: of(SMALL, 12),
}
MANY = 8_000


@pytest.mark.parametrize("kind", TOKENS)
def test_less_than_one_token_in_a_thousand_is_taken_for_a_name(kind: str) -> None:
    CHANCE.seed(kind)
    missed = [value for value in (TOKENS[kind]() for _ in range(MANY)) if not is_drawn(value)]
    assert len(missed) <= MANY / 1000, missed[:10]


@pytest.mark.parametrize("kind", [*TOKENS, *SHORT])
def test_less_than_one_pair_of_tokens_in_a_thousand_is_taken_for_names(kind: str) -> None:
    CHANCE.seed(kind)
    make = {**TOKENS, **SHORT}[kind]
    pairs = [(make(), make()) for _ in range(MANY // 4)]
    missed = [pair for pair in pairs if not are_drawn(*pair) and not "".join(pair).isdigit()]
    assert len(missed) <= MANY / 4 / 1000, missed[:10]


WRITTEN = """
article-2024-11-27-river-side stone-fall-works-22 user1234567 customer_000123 img_20261127_211500.jpg INV20261127
report-final-v2.pdf 2026-Q4-report.xlsx main.chunk.js jquery-3.7.1.min.js ORD-2026-000123 SKU-000123-XL-BLUE SKU-7-1
20261127T211500Z 2026-11-27T21 application/vnd.ms-excel multipart/form-data utf8mb4_unicode_ci x86_64-linux-gnu
1.2.840.113549.1.1.11 session_timeout_seconds 00001-of-00010 en_US.UTF-8 getElementById XMLHttpRequest us-east-1
NullPointerException HTTPSConnectionPool claude-3-5-sonnet-20241022 python3.11 eu-central-1 db.t3.medium n1-standard-4
ip-10-0-12-34 web-1.example.org 978-3-16-148410-0 4006381333931 GTIN00012345600012 76131-Karlsruhe team7/project-123
CVE-2024-12345 ENSG00000139618 DIN-EN-12345 Donaudampfschifffahrt anticonstitutionnellement PREFETCH_NOT_ELIGIBLE
build.2026.11.27 order_123456789 toegevoegd niezgodny przynajmniej LOT20240115A sha256WithRSAEncryption tt0111161
""".split()  # noqa: SIM905


def test_what_somebody_wrote_is_not_drawn() -> None:
    assert [text for text in [*WRITTEN, *WORDS] if is_drawn(text)] == []


def test_pairs_of_what_somebody_wrote_are_not_drawn() -> None:
    texts = [*WRITTEN, *WORDS]
    taken = [(one, other) for one in texts for other in texts if are_drawn(one, other)]
    assert len(taken) <= len(texts) ** 2 / 1000, taken


def test_capital_letters_and_small_ones_are_two_alphabets() -> None:
    assert are_drawn("9F86D081884C7D65", "2CF24DBA5FB0A30E")
    assert not are_drawn("9F86D081884C7D65", "2cf24dba5fb0a30e")
    assert not are_drawn("9f86d081884c7d65", "2cf24dba")
