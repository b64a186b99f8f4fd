"""Shapes of secrets: what is one whatever name it stands under, found in any text.

JSON web tokens, private keys, keys that were drawn at random, passwords in URLs, e-mail addresses, card numbers (Luhn),
IBANs (mod 97), telephone numbers, national insurance numbers with their check digits, network addresses.

Every pattern takes linear time, also on texts that were made to hurt: a run of characters is read once, by a
possessive quantifier behind a look-behind for its own class (so no second attempt starts inside it), and everything
else is bounded by a small number. tests/mirroring/test_linear_time.py measures it. Written here, because the detectors
on PyPI are made for something else: presidio and scrubadub load language models, detect-secrets reads source files line
by line with patterns that backtrack, python-stdnum (1.2 MB) needs a candidate first, and the check digits are one line
each. Pure functions, any thread.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from graft.mirroring.drawn import LONGEST, is_drawn
from graft.mirroring.slices import checkpoint, in_slices

Strike = Callable[[str], str]
"""What stands in the place of a secret."""

_PEM = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*+(?:-----END [A-Z ]{0,40}-----)?")
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{5,}+(?:\.[\w-]*+){0,4}")
_SCHEME = re.compile(
    r"(?<![\w-])((?:Bearer|Basic|Token|ApiKey|Digest) {1,4})(?!\[redacted)([\w.~+/=:-]{6,}+)", re.IGNORECASE
)
_IN_URL = re.compile(r"(?<![\w+.-])([A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s:/@]{0,100}:)([^\s/@:]{1,100})(?=@)")
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,}+(?:@|%40)(?!v?\d+\.\d)[\w-]++(?:\.[\w-]++)++")
"""Not a version, as in ``/js/tables@10.2.0.min.js``."""
_CARD = re.compile(r"(?<![\d.,_-])\d(?:[ -]?\d){12,18}(?![\d_]|[.,]\d)")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_PHONE = re.compile(
    r"(?<![\w+.])(?:\+[1-9]|00[1-9]\d{0,2}(?=[ /-]))(?:[ ()./-]{0,2}\d){6,13}(?!\d)"
    r"|(?<![\w.-])(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-]|\.\d)"
)
_NATIONAL = re.compile(
    r"(?<![\w.-])(?:"
    r"(?P<us>(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4})"
    r"|(?P<cpf>\d{3}\.\d{3}\.\d{3}-\d{2})"
    r"|(?P<fiscale>[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z])"
    r"|(?P<nir>[12] ?\d{2} ?(?:0[1-9]|1[0-2]) ?\d{2} ?\d{3} ?\d{3} ?\d{2})"
    r"|(?P<personnummer>(?:\d{2})?\d{2}(?:0[1-9]|1[0-2])[0-3]\d[-+]\d{4})"
    r"|(?P<dni>[XYZ\d]\d{7}-?[A-Z])"
    r"|(?P<nino>[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D])"
    r")(?![\w-])"
)
_IPV4 = re.compile(r"(?<![\w.:/-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{2,38}(?![\w:])")
_LEAST = 11
"""Characters of a key: secrets.token_urlsafe(8) has so many."""

_RUN = re.compile(rf"(?<![\w+/=~.-])[\w+/=~.-]{{{_LEAST},}}+")
_PARTS = re.compile(r"([/.])")
_ASSIGNMENT = re.compile(r"(=(?=\w))")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_PREFIXED = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk)_(?:live|test)_\w{6,}+|gh[pousr]_\w{16,}+|xox[abprs]-[\w-]{8,}+|"
    r"(?:AKIA|ASIA)[A-Z0-9]{12,}+|AIza[\w-]{20,}+|glpat-[\w-]{12,}+|npm_\w{20,}+|SG\.[\w.-]{20,}+|"
    r"sk-[\w-]{16,}+|hvs\.\w{12,}+)"
)
"""Keys that say whose they are."""


def redact_shapes(text: str, strike: Strike) -> str:
    """``text`` with everything that has the shape of a secret struck out. Linear in its length."""
    if len(text) < 6 or (text.isalpha() and (len(text) < _LEAST or text[1:].islower())):
        return text
    checkpoint()
    text = _PEM.sub(lambda match: strike(match[0]), text) if "-----BEGIN" in text else text
    checkpoint()
    text = _JWT.sub(lambda match: strike(match[0]), text) if "eyJ" in text else text
    checkpoint()  # each pattern takes up to 0.6 ms of what is stored of a text: a rest between any two of them
    text = _SCHEME.sub(lambda match: match[1] + strike(match[2]), text) if " " in text else text
    checkpoint()
    text = _IN_URL.sub(lambda match: match[1] + strike(match[2]), text) if "://" in text else text
    checkpoint()
    text = _MAIL.sub(lambda match: strike(match[0]), text) if "@" in text or "%40" in text else text
    checkpoint()
    if _has_digits(text):
        text = _NATIONAL.sub(_national(strike), text)
        checkpoint()
        text = _IBAN.sub(_checked(is_iban, strike), text)
        checkpoint()
        text = _CARD.sub(lambda match: _card(match[0], strike), text)
        checkpoint()
        text = _PHONE.sub(lambda match: strike(match[0]), text)
        checkpoint()
        text = _IPV4.sub(_checked(is_client_address, strike), text) if "." in text else text
        checkpoint()
    text = _IPV6.sub(_checked(is_client_address, strike), text) if ":" in text else text
    checkpoint()
    text = _PREFIXED.sub(lambda match: strike(match[0]), text)
    checkpoint()
    return _RUN.sub(lambda match: _run(match[0], strike), text) if len(text) >= _LEAST else text


_GROUPS = re.compile(r"[+(]{0,2}\d[\d()./ -]{5,40}")


def number_at(text: str, start: int) -> str | None:
    """The number in groups that begins there, as of a card, an account or a telephone; None where there is none."""
    found = _IBAN.match(text, start)
    if found is None:
        found = _GROUPS.match(text, start)
    number = found[0].rstrip(" ()./-") if found is not None else ""
    return number if sum(map(str.isdigit, number)) >= 7 else None


def _has_digits(text: str) -> bool:
    return _DIGIT.search(text) is not None


_DIGIT = re.compile(r"\d")


def _checked(check: Callable[[str], bool], strike: Strike) -> Callable[[re.Match[str]], str]:
    return lambda match: strike(match[0]) if check(match[0]) else match[0]


def _run(run: str, strike: Strike) -> str:
    """A run without spaces: a path or a dotted name loses the parts that are keys, a base64 text goes as a whole."""
    if run.isdigit():
        return run
    checkpoint()
    named = _ASSIGNMENT.split(run) if "=" in run else [run]
    if len(named) > 1:
        return "".join(each if index % 2 else _run(each, strike) for index, each in enumerate(named))
    checkpoint()
    parts = _PARTS.split(run)
    if not any(is_key(part) for part in in_slices(parts[::2]) if len(part) >= _LEAST):
        return strike(run) if _is_base64(run) else run
    if "." not in run and not run.startswith("/"):
        return strike(run)
    return "".join(strike(part) if not index % 2 and is_key(part) else part for index, part in enumerate(parts))


def _is_base64(run: str) -> bool:
    """Base64 with slashes in it, and no path: what is between the slashes is no word."""
    plain = run.replace("/", "")
    return "/" in run and "." not in run and not run.startswith("/") and len(plain) >= 24 and is_key(plain)


def is_key(text: str) -> bool:
    """Is it a random key, and not made of words, numbers, or a UUID (which is an id)?"""
    if len(text) > LONGEST:
        return len(set(text[:LONGEST])) > 16
    text = text.strip("=~+")
    return _PREFIXED.match(text) is not None or (is_drawn(text) and not _UUID.fullmatch(text))


def is_opaque(text: str) -> bool:
    """Is a short value a code that somebody was given, and no word? ``4f7a21``, ``482913``; not ``open``."""
    if len(text) < 5 or " " in text:
        return False
    if text.isdigit():
        return 5 <= len(text) <= 9
    letters = sum(map(str.isalpha, text))
    digits = sum(map(str.isdigit, text))
    if digits and letters:
        return digits >= 2 and not re.fullmatch(r"[A-Za-z]{1,8}[-_ ]?\d{1,4}", text)
    return len(text) >= 16 and is_key(text)


def is_card(text: str) -> bool:
    """A number of a card that somebody issues, with the check digit of Luhn."""
    digits = [int(digit) for digit in text if digit.isdigit()]
    number = "".join(map(str, digits))
    if not _ISSUED.match(number) or len(set(digits)) < 2:
        return False
    odd, even = digits[-1::-2], digits[-2::-2]
    return (sum(odd) + sum(digit * 2 - 9 * (digit > 4) for digit in even)) % 10 == 0


_ISSUED = re.compile(
    r"(?:4\d{12}(?:\d{3})?(?:\d{3})?|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}"
    r"|6\d{15}(?:\d{3})?|35\d{14})$"
)


def _card(text: str, strike: Strike) -> str:
    """A number in front of a card's, as in ``2 4111...``, looks like a part of it."""
    for start in [0, *(gap.end() for gap in _GAP.finditer(text))]:
        if is_card(text[start:]):
            return text[:start] + strike(text[start:])
    return text


_GAP = re.compile(r"[ -]")


def is_iban(text: str) -> bool:
    """An account number with the check digits of ISO 13616."""
    plain = re.sub(r"[ -]", "", text)
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def is_client_address(text: str) -> bool:
    """An address of the network that is somebody's: not the local host's, not the unspecified one."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)


def _national(strike: Strike) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        kind = match.lastgroup or ""
        return strike(match[0]) if _CHECKS.get(kind, bool)(match[0]) else match[0]

    return replace


def _digits(text: str) -> list[int]:
    return [int(digit) for digit in text if digit.isdigit()]


def _is_cpf(text: str) -> bool:
    digits = _digits(text)
    return len(set(digits)) > 1 and all(
        sum(digit * (size + 1 - index) for index, digit in enumerate(digits[:size])) * 10 % 11 % 10 == digits[size]
        for size in (9, 10)
    )


def _is_nir(text: str) -> bool:
    digits = "".join(map(str, _digits(text)))
    return len(digits) == 15 and 97 - int(digits[:13]) % 97 == int(digits[13:])


def _is_personnummer(text: str) -> bool:
    digits = _digits(text)[-10:]
    return sum(sum(divmod(digit * (2 - index % 2), 10)) for index, digit in enumerate(digits)) % 10 == 0


def _is_dni(text: str) -> bool:
    plain = text.replace("-", "")
    number = plain[:-1].translate(str.maketrans("XYZ", "012"))
    return number.isdigit() and "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == plain[-1]


_CHECKS: dict[str, Callable[[str], bool]] = {
    "cpf": _is_cpf,
    "nir": _is_nir,
    "personnummer": _is_personnummer,
    "dni": _is_dni,
}
