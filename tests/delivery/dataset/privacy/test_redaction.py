from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import signal
import stat
import time
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.dataset.privacy.documents import is_document
from delivery.dataset.privacy.identifiers import find
from delivery.dataset.privacy.redaction import Redactor, normal_form, restore
from delivery.dataset.privacy.spans import PLACEHOLDER, Found
from delivery.dataset.privacy.vault import Vault, client_key
from delivery.errors import ConfigError, IntegrityError
from tests.delivery.dataset.privacy.carriers import CARRIERS
from tests.delivery.dataset.privacy.planted import MAKERS, plant

KEY = bytes(range(32))
REDACTOR = Redactor(KEY)


def values(*texts: str, redactor: Redactor = REDACTOR) -> dict[str, str]:
    found = [f for text in texts for f in redactor.redact(text).found]
    return {redactor.placeholder(f): f.value for f in found}


def redact(text: str) -> str:
    return REDACTOR.redact(text).text


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "vault.jsonl")


PLANTED = st.builds(
    lambda seed, carrier: plant(carrier, random.Random(seed)).text, st.integers(0, 10_000), st.sampled_from(CARRIERS)
)
GLUED = st.lists(
    st.one_of(
        st.builds(lambda seed, kind: MAKERS[kind](random.Random(seed)), st.integers(0, 999), st.sampled_from(sorted(MAKERS))),
        st.sampled_from(["", " ", "\n", "[", "]", '"', "\\", "_", ": ", "password: ", "[EMAIL_CJGIF3NPFJ]", "call ", "BSN "]),
        st.text(max_size=4),
    ),
    max_size=6,
).map("".join)
TEXTS = st.one_of(PLANTED, GLUED)
DOCUMENTS = st.recursive(
    st.one_of(TEXTS, st.integers(-(10**18), 10**18), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(["phone", "password"]), st.text(max_size=5)), inner, max_size=3),
    ),
    max_leaves=6,
).filter(lambda value: isinstance(value, dict | list))


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = REDACTOR.redact(text)
    assert REDACTOR.redact(once.text) == (once.text, ())


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_no_found_value_remains(text: str) -> None:
    redacted = REDACTOR.redact(text)
    rest = PLACEHOLDER.sub("\0", redacted.text)
    for found in redacted.found:
        assert text[found.start : found.end] == found.value
        assert not re.search(rf"(?<![^\W_]){re.escape(found.value)}(?![^\W_])", rest) or len(found.value) < 6
    assert find(redacted.text) == []


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_what_was_redacted_comes_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    redacted = REDACTOR.redact(text)
    kept = {REDACTOR.placeholder(f): f.value for f in reversed(redacted.found)}
    spellings = {(REDACTOR.placeholder(f), f.value) for f in redacted.found}
    vault = Vault(tmp_path_factory.mktemp("vault") / "vault.jsonl")
    vault.keep(kept, KEY)
    restored = restore(redacted.text, vault, KEY)
    if len(spellings) == len(kept) and not any(p in text for p in kept):
        assert restored == text
    assert len(PLACEHOLDER.findall(restored)) == len(PLACEHOLDER.findall(text))


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, st.sampled_from([None, 2]), st.booleans())
def test_a_document_stays_one_of_the_same_shape(value: object, indent: int | None, ascii_only: bool) -> None:
    document = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    redacted = redact(document)

    def same_shape(one: object, other: object) -> bool:
        if isinstance(one, dict) and isinstance(other, dict):
            return len(one) >= len(other) and all(same_shape(a, b) for a, b in zip(one.values(), other.values(), strict=False))
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(same_shape, one, other))
        return one == other or (isinstance(one, str | int) and isinstance(other, str) and bool(PLACEHOLDER.search(other)))

    if is_document(document):
        assert same_shape(value, json.loads(redacted))
        assert redact(redacted) == redacted


def test_one_value_has_one_placeholder_however_it_is_spelled() -> None:
    assert redact("Jane@Example.com and jane@example.com") == "[EMAIL_W63K2BKDLS] and [EMAIL_W63K2BKDLS]".replace(
        "[EMAIL_W63K2BKDLS]", redact("jane@example.com")
    )
    assert redact("4111 1111 1111 1111") == redact("4111-1111-1111-1111") == redact("4111111111111111")
    assert redact("DE89 3704 0044 0532 0130 00") == redact("de89370400440532013000")
    assert redact("+49 (0)171 1234567") == redact("+49 171/1234567") == redact("0049 171 1234567")
    assert redact("2001:db8:0:0::1") == redact("2001:db8::1")


def test_placeholders_name_the_kind_and_depend_on_value_and_key() -> None:
    assert re.fullmatch(r"\[EMAIL_[A-Z2-7]{10}\]", redact("jane@example.com"))
    assert redact("jane@example.com") != redact("john@example.com")
    assert redact("jane@example.com") != Redactor(bytes(32)).redact("jane@example.com").text


def test_passwords_differ_by_case() -> None:
    assert normal_form("password", "Hunter22") != normal_form("password", "hunter22")


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        Redactor(b"short")


def test_a_value_is_replaced_where_nothing_else_gives_it_away() -> None:
    text = redact("My password is hunter22x. When I type hunter22x it fails, unlike hunter22xy.")
    assert "hunter22x " not in text
    assert text.count("[PASSWORD_") == 2
    assert "hunter22xy" in text


def test_a_value_known_from_the_same_row_is_replaced() -> None:
    known = REDACTOR.redact("my password is hunter22x").found
    assert "hunter22x" not in REDACTOR.redact("User typed hunter22x twice", known=known).text


def test_what_a_placeholder_uncovers_is_redacted_too() -> None:
    redacted = REDACTOR.redact("jane@example.com4111111111111111 x")
    assert re.fullmatch(r"\[EMAIL_\w{10}\]\[CARD_\w{10}\] x", redacted.text)
    assert [(f.kind, f.start, f.end) for f in redacted.found] == [("email", 0, 16), ("card", 16, 32)]


def test_a_documents_names_are_words_nearby_and_its_numbers_become_strings() -> None:
    document = '{"orderNumber": "0612345678", "phoneNumber": "0612345678x", "mobile": 2125550187, "total": 2125550187.5}'
    redacted = orjson.loads(redact(document.replace("x", "")))
    assert re.fullmatch(r"\[PHONE_\w{10}\]", redacted["phoneNumber"])
    assert re.fullmatch(r"\[PHONE_\w{10}\]", redacted["mobile"])
    assert redacted["total"] == 2125550187.5


def test_a_document_with_escapes_stays_one_and_comes_back(vault: Vault) -> None:
    pem = r"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END PRIVATE KEY-----"
    document = rf'{{"note": "caf\u00e9\njane@example.com \"quoted\"", "key": "{pem}"}}'
    redacted = redact(document)
    assert "jane" not in redacted
    assert "MII" not in redacted
    assert redacted.startswith(r'{"note": "caf\u00e9\n[EMAIL_')
    vault.keep(values(document), KEY)
    assert orjson.loads(restore(redacted, vault, KEY)) == orjson.loads(document)


def test_an_unknown_placeholder_stays(vault: Vault) -> None:
    assert restore("to [EMAIL_CJGIF3NPFJ]", vault, KEY) == "to [EMAIL_CJGIF3NPFJ]"


def test_a_clients_own_identifiers_are_redacted() -> None:
    redactor = Redactor(KEY, {"policy_no": r"\bPOL-\d{6}\b"})
    assert re.fullmatch(r"Policy \[POLICY_NO_\w{10}\]\.", redactor.redact("Policy POL-123456.").text)
    assert redactor.redact(redactor.redact("Policy POL-123456.").text).found == ()


def test_nothing_of_the_value_stands_in_the_vault(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault.jsonl")
    assert vault.keep({"[EMAIL_CJGIF3NPFJ]": "jane@example.com"}, KEY) == 1
    content = (tmp_path / "vault.jsonl").read_bytes()
    assert b"jane" not in content
    assert stat.S_IMODE((tmp_path / "vault.jsonl").stat().st_mode) == 0o600
    assert Vault(tmp_path / "vault.jsonl").value("[EMAIL_CJGIF3NPFJ]", KEY) == "jane@example.com"


def test_a_vault_keeps_a_placeholder_once(tmp_path: Path) -> None:
    path = tmp_path / "vault.jsonl"
    first, second = Vault(path), Vault(path)
    assert first.keep({"[EMAIL_CJGIF3NPFJ]": "Jane@example.com"}, KEY) == 1
    assert second.keep({"[EMAIL_CJGIF3NPFJ]": "jane@example.com", "[EMAIL_AJGIF3NPFJ]": "j@example.com"}, KEY) == 1
    assert len(path.read_bytes().splitlines()) == 2
    assert second.value("[EMAIL_CJGIF3NPFJ]", KEY) == "Jane@example.com"
    assert len(second) == 2


def test_another_key_opens_nothing_and_adds_nothing(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault.jsonl")
    vault.keep({"[EMAIL_CJGIF3NPFJ]": "jane@example.com"}, KEY)
    with pytest.raises(IntegrityError, match="does not open with this key"):
        vault.value("[EMAIL_CJGIF3NPFJ]", bytes(32))
    with pytest.raises(IntegrityError, match="does not open with this key"):
        vault.keep({"[EMAIL_AJGIF3NPFJ]": "x@example.com"}, bytes(32))


def test_an_entry_that_was_moved_to_another_placeholder_does_not_open(tmp_path: Path) -> None:
    path = tmp_path / "vault.jsonl"
    Vault(path).keep({"[EMAIL_CJGIF3NPFJ]": "jane@example.com"}, KEY)
    path.write_bytes(path.read_bytes().replace(b"CJGIF3NPFJ", b"AJGIF3NPFJ"))
    with pytest.raises(IntegrityError):
        Vault(path).value("[EMAIL_AJGIF3NPFJ]", KEY)


def test_a_torn_last_line_is_not_read_and_then_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "vault.jsonl"
    Vault(path).keep({"[EMAIL_CJGIF3NPFJ]": "jane@example.com"}, KEY)
    with path.open("ab") as stream:
        stream.write(b'{"placeholder": "[EMAIL_AJG')
    vault = Vault(path)
    assert len(vault) == 1
    vault.keep({"[EMAIL_BJGIF3NPFJ]": "b@example.com"}, KEY)
    assert [set(orjson.loads(line)) for line in path.read_bytes().splitlines()] == [{"placeholder", "sealed"}] * 2


def test_a_damaged_vault_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "vault.jsonl"
    path.write_bytes(b'{"placeholder": "[EMAIL_CJGIF3NPFJ]", "sealed": "AAAA"}\nnonsense\n')
    with pytest.raises(IntegrityError, match=r"vault\.jsonl:2: is no entry"):
        Vault(path)


def _fill(path: Path, start: int) -> None:
    for n in range(start, start + 10_000):
        Vault(path).keep({f"[EMAIL_{n:010}]".translate(str.maketrans("0189", "ABCD")): f"{n}@example.com"}, KEY)


def test_a_vault_survives_two_writers_and_kill(tmp_path: Path) -> None:
    path = tmp_path / "vault.jsonl"
    writers = [multiprocessing.get_context("fork").Process(target=_fill, args=(path, n)) for n in (0, 50_000)]
    for writer in writers:
        writer.start()
    deadline = time.monotonic() + 20
    while (not path.exists() or path.read_bytes().count(b"\n") < 20) and time.monotonic() < deadline:
        time.sleep(0.01)
    for writer in writers:
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    vault = Vault(path)
    assert len(vault) >= 20
    vault.keep({"[EMAIL_AAAAAAAAAA]": "last@example.com"}, KEY)
    entries = [orjson.loads(line)["placeholder"] for line in path.read_bytes().splitlines()]
    assert len(entries) == len(set(entries)) == len(vault)
    assert all(vault.value(placeholder, KEY) for placeholder in entries)


def test_a_key_is_made_once_and_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "demo.key"
    key = client_key(path)
    assert len(key) == 32
    assert client_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["demo.key"]


def _send_key(path: Path, barrier: object, results: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    results.put(client_key(path))  # type: ignore[attr-defined]


def test_processes_that_begin_at_once_get_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_send_key, args=(tmp_path / "demo.key", barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    keys = {results.get(timeout=20) for _ in processes}
    for process in processes:
        process.join()
    assert keys == {client_key(tmp_path / "demo.key")}


@pytest.mark.parametrize(
    ("content", "message"), [("", "a key of 0 bytes"), ("abcd", "a key of 2 bytes"), ("zz", "holds no key")]
)
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "demo.key"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        client_key(path)


def test_a_key_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be read or made"):
        client_key(tmp_path / "file" / "demo.key")


def test_found_places_survive_a_second_reading() -> None:
    text = "password: [EMAIL_CJGIF3NPFJ] a@b.co4111111111111111 then c@d.de5555555555554444 x"
    found = REDACTOR.redact(text).found
    assert [text[f.start : f.end] for f in found] == [f.value for f in found]
    assert [f.kind for f in found] == ["email", "card", "email", "card"]
    assert all(isinstance(f, Found) for f in found)
