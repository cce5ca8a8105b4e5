"""Customer texts with identifiers planted in them, and the numbers that only look like identifiers.

Everything here is made without the code under test: the check digits are computed from the published rules.
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
from collections.abc import Callable
from typing import NamedTuple

WITHOUT_CHECKSUM = frozenset({"email", "phone", "ip", "us_ssn", "gb_nino", "dk_cpr", "in_pan"})
"""Kinds of people's identifiers that their form alone tells; the other identifiers have a checksum."""


class Plant(NamedTuple):
    """An identifier that was put into a text on purpose."""

    kind: str
    start: int
    end: int
    value: str


class Planted(NamedTuple):
    """A text and all that was planted in it."""

    text: str
    plants: tuple[Plant, ...]


def digits(rng: random.Random, n: int) -> str:
    return "".join(rng.choices(string.digits, k=n))


def weighted(number: str, weights: tuple[int, ...]) -> int:
    return sum(int(d) * w for d, w in zip(number, weights, strict=True))


def luhn_digit(body: str) -> str:
    doubled = (int(d) * 2 if i % 2 == 0 else int(d) for i, d in enumerate(reversed(body)))
    return str(-sum(d // 10 + d % 10 for d in doubled) % 10)


def day(rng: random.Random, first: int = 1940, last: int = 1999) -> tuple[str, str, str]:
    return str(rng.randint(first, last)), f"{rng.randint(1, 12):02}", f"{rng.randint(1, 28):02}"


def until(make: Callable[[], str | None]) -> str:
    while (made := make()) is None:
        pass
    return made


def iban(rng: random.Random) -> str:
    letters = "".join(rng.choices(string.ascii_uppercase, k=4))
    country, bban = rng.choice(
        [
            ("DE", digits(rng, 18)),
            ("GB", letters + digits(rng, 14)),
            ("FR", digits(rng, 10) + digits(rng, 11) + digits(rng, 2)),
            ("NL", letters + digits(rng, 10)),
            ("ES", digits(rng, 20)),
            ("IT", rng.choice(string.ascii_uppercase) + digits(rng, 22)),
            ("BE", digits(rng, 12)),
            ("AT", digits(rng, 16)),
            ("CH", digits(rng, 17)),
            ("PL", digits(rng, 24)),
            ("IE", letters + digits(rng, 14)),
            ("NO", digits(rng, 11)),
        ]
    )
    value = int("".join(str(int(c, 36)) for c in bban + country + "00"))
    whole = f"{country}{98 - value % 97:02}{bban}"
    return rng.choice([whole, " ".join(whole[i : i + 4] for i in range(0, len(whole), 4))])


def card(rng: random.Random) -> str:
    prefix, length = rng.choice([("4", 16), ("51", 16), ("54", 16), ("2301", 16), ("37", 15), ("6011", 16), ("3540", 16)])
    body = prefix + digits(rng, length - len(prefix) - 1)
    number = body + luhn_digit(body)
    sizes = (4, 6, 5) if length == 15 else (4, 4, 4, 4)
    groups = [number[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]
    return rng.choice([number, " ".join(groups), "-".join(groups)])


def de_idnr(rng: random.Random) -> str:
    order = rng.sample(string.digits, 9)
    body = [*order, order[rng.randrange(9)]]
    rng.shuffle(body)
    if body[0] == "0" or any(body[i] == body[i + 1] == body[i - 1] for i in range(1, 9)):
        return de_idnr(rng)
    product = 10
    for d in body:
        total = (int(d) + product) % 10 or 10
        product = total * 2 % 11
    number = "".join(body) + str((11 - product) % 10)
    return rng.choice([number, f"{number[:2]} {number[2:5]} {number[5:8]} {number[8:]}"])


def fr_nir(rng: random.Random) -> str:
    year, month, _ = day(rng)
    body = f"{rng.choice('12')}{year[2:]}{month}{rng.randint(1, 95):02}{digits(rng, 6)}"
    number = body + f"{97 - int(body) % 97:02}"
    spaced = f"{number[0]} {number[1:3]} {number[3:5]} {number[5:7]} {number[7:10]} {number[10:13]} {number[13:]}"
    return rng.choice([number, spaced])


def es_dni(rng: random.Random) -> str:
    number = digits(rng, 8)
    return number + rng.choice(["", "-"]) + "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def es_nie(rng: random.Random) -> str:
    head, number = rng.randrange(3), digits(rng, 7)
    sign = rng.choice(["", "-"])
    return f"{'XYZ'[head]}{sign}{number}{sign}{'TRWAGMYFPDXBNJZSQVHLCKE'[int(f'{head}{number}') % 23]}"


def it_codice_fiscale(rng: random.Random) -> str:
    consonants = "BCDFGLMNPRSTVZ"
    year, _, born = day(rng)
    body = "".join(rng.choices(consonants, k=6)) + year[2:] + rng.choice("ABCDEHLMPRST") + born
    body += rng.choice("ABCDEFGHIL") + digits(rng, 3)
    odd = dict(zip(string.digits, (1, 0, 5, 7, 9, 13, 15, 17, 19, 21), strict=True))
    letters = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
    odd |= dict(zip(string.ascii_uppercase, letters, strict=True))
    even = {c: int(c) if c.isdigit() else ord(c) - 65 for c in string.digits + string.ascii_uppercase}
    total = sum(odd[c] if i % 2 == 0 else even[c] for i, c in enumerate(body))
    return body + string.ascii_uppercase[total % 26]


def nl_bsn(rng: random.Random) -> str:
    def make() -> str | None:
        body = rng.choice("12345678") + digits(rng, 7)
        check = weighted(body, (9, 8, 7, 6, 5, 4, 3, 2)) % 11
        return body + str(check) if check < 10 else None

    return until(make)


def be_nn(rng: random.Random) -> str:
    year, month, born = day(rng)
    body = f"{year[2:]}{month}{born}{rng.randint(1, 997):03}"
    check = f"{97 - int(body) % 97:02}"
    return rng.choice([body + check, f"{body[:2]}.{body[2:4]}.{body[4:6]}-{body[6:]}.{check}"])


def pl_pesel(rng: random.Random) -> str:
    year, month, born = day(rng)
    body = f"{year[2:]}{month}{born}{digits(rng, 4)}"
    return body + str(-weighted(body, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10)


def se_personnummer(rng: random.Random) -> str:
    year, month, born = day(rng)
    body = f"{year[2:]}{month}{born}{digits(rng, 3)}"
    check = luhn_digit(body)
    return rng.choice(["", year[:2]]) + f"{body[:6]}-{body[6:]}{check}"


def fi_hetu(rng: random.Random) -> str:
    year, month, born = day(rng, 1940, 2010)
    body = f"{born}{month}{year[2:]}{rng.randint(2, 899):03}"
    return f"{body[:6]}{'-' if year < '2000' else 'A'}{body[6:]}{'0123456789ABCDEFHJKLMNPRSTUVWXY'[int(body) % 31]}"


def no_fodselsnummer(rng: random.Random) -> str:
    def make() -> str | None:
        year, month, born = day(rng)
        body = f"{born}{month}{year[2:]}{rng.randint(0, 499):03}"
        first = -weighted(body, (3, 7, 6, 1, 8, 9, 4, 5, 2)) % 11
        if first == 10:
            return None
        second = -weighted(f"{body}{first}", (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
        return None if second == 10 else f"{body[:6]}{rng.choice(['', ' '])}{body[6:]}{first}{second}"

    return until(make)


def ch_ahv(rng: random.Random) -> str:
    body = "756" + digits(rng, 9)
    number = body + str(-sum(int(d) * (1, 3)[i % 2] for i, d in enumerate(body)) % 10)
    return rng.choice([number, f"{number[:3]}.{number[3:7]}.{number[7:11]}.{number[11:]}"])


def at_vnr(rng: random.Random) -> str:
    def make() -> str | None:
        year, month, born = day(rng)
        serial, rest = str(rng.randint(100, 999)), born + month + year[2:]
        check = weighted(serial + rest, (3, 7, 9, 5, 8, 4, 2, 1, 6)) % 11
        return f"{serial}{check}{rng.choice(['', ' '])}{rest}" if check < 10 else None

    return until(make)


def ie_pps(rng: random.Random) -> str:
    body = digits(rng, 7)
    return body + "WABCDEFGHIJKLMNOPQRSTUV"[weighted(body, (8, 7, 6, 5, 4, 3, 2)) % 23]


def pt_nif(rng: random.Random) -> str:
    body = rng.choice("12") + digits(rng, 7)
    check = -weighted(body, (9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return body + str(check if check < 10 else 0)


def br_cpf(rng: random.Random) -> str:
    body = digits(rng, 9)
    for weights in (range(10, 1, -1), range(11, 1, -1)):
        body += str(weighted(body, tuple(weights)) * 10 % 11 % 10)
    return f"{body[:3]}.{body[3:6]}.{body[6:9]}-{body[9:]}"


def ca_sin(rng: random.Random) -> str:
    body = rng.choice("1245679") + digits(rng, 7)
    number = body + luhn_digit(body)
    return f"{number[:3]} {number[3:6]} {number[6:]}"


def au_tfn(rng: random.Random) -> str:
    def make() -> str | None:
        number = rng.choice("123456789") + digits(rng, 8)
        good = weighted(number, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0
        return f"{number[:3]} {number[3:6]} {number[6:]}" if good else None

    return until(make)


def in_aadhaar(rng: random.Random) -> str:
    def times(a: int, b: int) -> int:
        """The dihedral group of the pentagon, which Verhoeff's check digit uses."""
        if a < 5:
            return (a + b) % 5 if b < 5 else (a + b) % 5 + 5
        return (a - b) % 5 + 5 if b < 5 else (a - b) % 5

    step = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
    body, check = rng.choice("23456789") + digits(rng, 10), 0
    for i, d in enumerate(reversed(body), start=1):
        turned = int(d)
        for _ in range(i % 8):
            turned = step[turned]
        check = times(check, turned)
    number = body + str(next(d for d in range(10) if times(check, d) == 0))
    return f"{number[:4]} {number[4:8]} {number[8:]}"


def gb_nhs(rng: random.Random) -> str:
    def make() -> str | None:
        body = rng.choice("467") + digits(rng, 8)
        check = -weighted(body, (10, 9, 8, 7, 6, 5, 4, 3, 2)) % 11
        return f"{body[:3]} {body[3:6]} {body[6:]}{check}" if check < 10 else None

    return until(make)


def us_ssn(rng: random.Random) -> str:
    return f"{rng.randint(100, 665)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"


def gb_nino(rng: random.Random) -> str:
    number = rng.choice(["AB", "JC", "PX", "SR", "WE"]) + digits(rng, 6) + rng.choice("ABCD")
    return rng.choice([number, f"{number[:2]} {number[2:4]} {number[4:6]} {number[6:8]} {number[8]}"])


def dk_cpr(rng: random.Random) -> str:
    year, month, born = day(rng)
    return f"{born}{month}{year[2:]}-{rng.choice('0123')}{digits(rng, 3)}"


def in_pan(rng: random.Random) -> str:
    letters = "".join(rng.choices(string.ascii_uppercase, k=3))
    return f"{letters}P{rng.choice(string.ascii_uppercase)}{digits(rng, 4)}{rng.choice(string.ascii_uppercase)}"


def email(rng: random.Random) -> str:
    first, last = (
        rng.choice(["mia", "t.okafor", "Jürgen", "ana_maria", "li.wei", "sam"]),
        rng.choice(["lopez", "93", "k", "brandt"]),
    )
    host = rng.choice(["gmail.com", "outlook.co.uk", "mail.example.org", "web.de", "uni-köln.de", "school.edu.au", "proton.me"])
    return f"{first}{rng.choice(['.', '_', '', '+shop.'])}{last}@{host}"


def phone(rng: random.Random) -> str:
    n = lambda k: digits(rng, k)  # noqa: E731
    return rng.choice(
        [
            f"+44 20 7946 0{n(3)}",
            f"+44 7700 900{n(3)}",
            f"07700 900{n(3)}",
            f"0161 496 0{n(3)}",
            f"({rng.choice(['212', '415', '617'])}) 555-01{n(2)}",
            f"{rng.choice(['312', '206', '503'])}-555-01{n(2)}",
            f"+1 {rng.choice(['646', '303'])} 555 01{n(2)}",
            f"+49 30 23125{n(3)}",
            f"+49 171 39{n(5)}",
            f"+33 6 {rng.randint(10, 79)} {n(2)} {n(2)} {n(2)}",
            f"06 {rng.randint(10, 79)} {n(2)} {n(2)} {n(2)}",
            f"+34 6{n(2)} {n(3)} {n(3)}",
            f"+91 98{n(3)} {n(5)}",
            f"+31 6 {rng.randint(10, 58)}{n(6)}",
            f"0412 {n(3)} {n(3)}",
        ]
    )


def ip(rng: random.Random) -> str:
    four = f"{rng.choice([81, 92, 185, 203])}.{rng.randint(20, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
    return rng.choice(
        [
            four,
            f"2001:db8:{rng.randint(1, 9999):x}::{rng.randint(1, 65535):x}",
            f"2a02:8109:9a40:15e8:{digits(rng, 4)}:4f1:8e2c:77",
        ]
    )


def token(rng: random.Random, alphabet: str, n: int) -> str:
    return "".join(rng.choices(alphabet, k=n - 3)) + "a7Q"


ALNUM = string.ascii_letters + string.digits


def jwt(rng: random.Random) -> str:
    head, body = ({"alg": "HS256", "typ": "JWT"}, {"sub": digits(rng, 10), "iat": 1700000000})
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (head, body)]
    return ".".join([*parts, token(rng, ALNUM + "-_", 43)])


def private_key(rng: random.Random) -> str:
    lines = "\n".join(token(rng, ALNUM + "+/", 64) for _ in range(4))
    kind = rng.choice(["RSA ", "EC ", ""])
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


def password(rng: random.Random) -> str:
    word = rng.choice(["Falcon", "sunny", "Blauwal", "tulip", "Mercury"])
    return rng.choice([f"{word}{digits(rng, 3)}!x", f"{word}-{digits(rng, 4)}", f"{digits(rng, 2)}{word}#{digits(rng, 2)}Z"])


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "email": email,
    "phone": phone,
    "iban": iban,
    "card": card,
    "ip": ip,
    "us_ssn": us_ssn,
    "gb_nino": gb_nino,
    "gb_nhs": gb_nhs,
    "de_idnr": de_idnr,
    "fr_nir": fr_nir,
    "es_dni": es_dni,
    "es_nie": es_nie,
    "it_codice_fiscale": it_codice_fiscale,
    "nl_bsn": nl_bsn,
    "be_nn": be_nn,
    "pl_pesel": pl_pesel,
    "se_personnummer": se_personnummer,
    "dk_cpr": dk_cpr,
    "fi_hetu": fi_hetu,
    "no_fodselsnummer": no_fodselsnummer,
    "ch_ahv": ch_ahv,
    "at_vnr": at_vnr,
    "ie_pps": ie_pps,
    "pt_nif": pt_nif,
    "br_cpf": br_cpf,
    "ca_sin": ca_sin,
    "au_tfn": au_tfn,
    "in_aadhaar": in_aadhaar,
    "in_pan": in_pan,
    "jwt": jwt,
    "private_key": private_key,
    "password": password,
    "openai_key": lambda rng: rng.choice(["sk-", "sk-proj-"]) + token(rng, ALNUM, 48),
    "anthropic_key": lambda rng: "sk-ant-api03-" + token(rng, ALNUM + "-_", 60),
    "aws_access_key": lambda rng: "AKIA" + "".join(rng.choices(string.ascii_uppercase + "234567", k=16)),
    "aws_secret_key": lambda rng: token(rng, ALNUM + "+/", 40),
    "github_token": lambda rng: rng.choice(
        ["ghp_" + token(rng, ALNUM, 36), "github_pat_" + token(rng, ALNUM, 22) + "_" + token(rng, ALNUM, 59)]
    ),
    "gitlab_token": lambda rng: "glpat-" + token(rng, ALNUM, 20),
    "slack_token": lambda rng: f"xoxb-{digits(rng, 12)}-{digits(rng, 12)}-{token(rng, ALNUM, 24)}",
    "google_api_key": lambda rng: "AIza" + token(rng, ALNUM + "-_", 35),
    "stripe_key": lambda rng: rng.choice(["sk_live_", "rk_live_", "sk_test_"]) + token(rng, ALNUM, 24),
    "huggingface_token": lambda rng: "hf_" + token(rng, string.ascii_letters, 34),
    "secret": lambda rng: token(rng, ALNUM, 32),
}


def spoiled(value: str) -> str:
    """The same with its last digit changed, so that its checksum fails."""
    place = max(i for i, c in enumerate(value) if c.isdigit())
    return f"{value[:place]}{(int(value[place]) + 1) % 10}{value[place + 1 :]}"


DECOYS: dict[str, Callable[[random.Random], str]] = {
    "order": lambda rng: rng.choice(
        [digits(rng, 8), f"{rng.randint(100, 999)}-{digits(rng, 7)}-{digits(rng, 7)}", f"9{digits(rng, 9)}"]
    ),
    "claim": lambda rng: rng.choice(
        [f"CLM-{rng.randint(2019, 2026)}-{digits(rng, 6)}", f"C{digits(rng, 9)}", f"{digits(rng, 4)}/{digits(rng, 6)}"]
    ),
    "date": lambda rng: rng.choice(
        [
            f"{rng.randint(1, 28):02}.{rng.randint(1, 12):02}.202{rng.randint(0, 6)}",
            f"202{rng.randint(0, 6)}-{rng.randint(10, 12)}-{rng.randint(10, 28)}",
            f"{rng.randint(1, 12)}/{rng.randint(1, 28)}/202{rng.randint(0, 6)}",
        ]
    ),
    "time": lambda rng: f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}",
    "amount": lambda rng: rng.choice(
        [
            f"{rng.randint(1, 99)},{digits(rng, 3)}.{digits(rng, 2)}",
            f"{rng.randint(1, 9)} {digits(rng, 3)} {digits(rng, 3)}",
            f"{rng.randint(10, 99)}.{digits(rng, 3)},{digits(rng, 2)}",
        ]
    ),
    "version": lambda rng: (
        f"{rng.randint(1, 15)}.{rng.randint(0, 9)}.{rng.randint(0, 30)}" + rng.choice(["", f".{rng.randint(0, 400)}"])
    ),
    "measure": lambda rng: rng.choice(
        [f"{rng.randint(10, 99)}x{rng.randint(10, 99)} cm", f"{rng.randint(1000, 9999)} kWh", f"{rng.randint(100, 999)} 000 km"]
    ),
    "handle": lambda rng: rng.choice(["@mia_lopez93", "@the.real.sam", "@TeamNorth"]),
    "tracking": lambda rng: rng.choice(
        [f"1Z{token(rng, string.ascii_uppercase + string.digits, 13)}", digits(rng, 12), f"JD{digits(rng, 18)}"]
    ),
    "stamp": lambda rng: str(rng.randint(1_600_000_000_000, 1_790_000_000_000)),
    "score": lambda rng: f"{rng.randint(100, 999)} {rng.randint(100, 999)} {rng.randint(100, 999)}",
    "bad_iban": lambda rng: spoiled(iban(rng)),
    "bad_card": lambda rng: spoiled(card(rng)),
    "bad_idnr": lambda rng: spoiled(de_idnr(rng).replace(" ", "")),
    "uuid": lambda rng: "-".join("".join(rng.choices("0123456789abcdef", k=k)) for k in (8, 4, 4, 4, 12)),
    "isbn": lambda rng: f"978-{rng.randint(0, 9)}-{digits(rng, 4)}-{digits(rng, 4)}-{rng.randint(0, 9)}",
}

_SLOT = re.compile(r"\{(\w+)\}")


def plant(text: str, rng: random.Random) -> Planted:
    """Fill the slots of a text."""
    parts: list[str] = []
    plants: list[Plant] = []
    end = length = 0
    for slot in _SLOT.finditer(text):
        before, kind = text[end : slot.start()], slot[1]
        value = (MAKERS.get(kind) or DECOYS[kind])(rng)
        length += len(before)
        if kind in MAKERS:
            plants.append(Plant(kind, length, length + len(value), value))
        parts += [before, value]
        length += len(value)
        end = slot.end()
    return Planted("".join([*parts, text[end:]]), tuple(plants))
