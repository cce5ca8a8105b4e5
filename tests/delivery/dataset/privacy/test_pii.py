from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from delivery.artifacts import Example, LabeledDataset, Message
from delivery.client_config import UseCase
from delivery.dataset.privacy.pii import Guarded, Mode, apply
from delivery.dataset.privacy.redaction import Redactor, restore
from delivery.dataset.privacy.vault import Vault
from delivery.dataset.reading.loading import load
from delivery.errors import ConfigError

KEY = bytes(range(32))
ROOT = Path(__file__).parents[4]


def example(text: str, answer: str = "Other", **more: object) -> Example:
    row = Example(
        id="r-1",
        messages=(Message("system", "Sort the message."), Message("user", text)),
        answer=answer,
        split="train",
        source="/home/someone/data/rows.jsonl",
        line=7,
    )
    return replace(row, **more)  # type: ignore[arg-type]


def guarded(*rows: Example, mode: Mode = "redact", use_case: UseCase | None = None) -> Guarded:
    dataset = LabeledDataset(rows, fingerprint="f", format="chat-jsonl")
    return apply(dataset, mode=mode, redactor=Redactor(KEY), use_case=use_case)


def test_clean_rows_are_ok_and_stay_the_very_same() -> None:
    rows = (example("Where is my parcel?"), example("It broke on 12.03.2024, order 88213377."))
    result = guarded(*rows)
    assert (result.pii.name, result.pii.status, result.pii.count) == ("pii", "ok", 0)
    assert (result.secrets.name, result.secrets.status, result.secrets.count) == ("secrets", "ok", 0)
    assert all(one is other for one, other in zip(result.dataset.examples, rows, strict=True))
    assert (result.counts, result.values) == ({}, {})


def test_redacting_counts_rows_and_names_none_in_full() -> None:
    rows = (
        example("Mail jane@example.com or jane@example.com, call +44 20 7946 0958"),
        example("my password is hunter22x", line=8),
        example("nothing here", line=9),
    )
    result = guarded(*rows)
    assert (result.pii.status, result.pii.count) == ("warn", 1)
    assert (result.secrets.status, result.secrets.count) == ("warn", 1)
    assert result.counts == {"email": 2, "password": 1, "phone": 1}
    assert "email 2, phone 1" in result.pii.detail
    assert "placeholders stand in their place" in result.pii.detail
    assert result.pii.examples == ("rows.jsonl:7: email j…@… in messages[1], phone +… in messages[1]",)
    assert result.secrets.examples == ("rows.jsonl:8: password h… in messages[1]",)
    shown = repr((result.pii, result.secrets))
    assert not any(value in shown for value in ("jane", "hunter", "7946"))
    contents = [row.messages[1].content for row in result.dataset.examples]
    assert not any(value in " ".join(contents) for value in ("jane", "hunter", "7946"))
    assert contents[2] == "nothing here"


def test_rows_keep_their_id_split_and_key() -> None:
    row = example("Mail jane@example.com")
    (redacted,) = guarded(row).dataset.examples
    assert (redacted.id, redacted.split, redacted.line, redacted.source) == (row.id, row.split, row.line, row.source)
    assert redacted.input_key == row.input_key
    assert redacted.key == row.input_key
    assert replace(redacted, key="").input_key != row.input_key


def test_a_key_that_was_set_before_stays() -> None:
    (redacted,) = guarded(example("Mail jane@example.com", key="k")).dataset.examples
    assert redacted.key == "k"


def test_answers_rejected_answers_and_metadata_are_redacted_with_the_same_placeholder() -> None:
    row = example(
        "I am jane@example.com",
        "Dear jane@example.com",
        rejected="No jane@example.com",
        metadata={"from": "jane@example.com", "n": "1"},
    )
    result = guarded(row)
    (redacted,) = result.dataset.examples
    (placeholder,) = result.values
    assert redacted.messages[1].content == f"I am {placeholder}"
    assert redacted.answer == f"Dear {placeholder}"
    assert redacted.rejected == f"No {placeholder}"
    assert redacted.metadata == {"from": placeholder, "n": "1"}
    assert result.pii.count == 1
    assert result.counts == {"email": 4}


def test_values_go_to_the_vault_and_come_back(tmp_path: Path) -> None:
    row = example("I am jane@example.com, IBAN DE89 3704 0044 0532 0130 00")
    result = guarded(row)
    vault = Vault(tmp_path / "vault.jsonl")
    assert vault.keep(result.values, KEY) == 2
    assert restore(result.dataset.examples[0].messages[1].content, vault, KEY) == row.messages[1].content


def test_a_value_that_only_the_input_gives_away_is_redacted_in_the_answer() -> None:
    (redacted,) = guarded(example("my password is hunter22x", '{"typed": "hunter22x"}')).dataset.examples
    assert "hunter22x" not in redacted.answer
    assert json.loads(redacted.answer)


def test_a_value_that_only_the_answer_gives_away_is_redacted_in_the_input() -> None:
    (redacted,) = guarded(example("I said 2125550187", '{"phone": "2125550187"}')).dataset.examples
    assert "2125550187" not in redacted.messages[1].content


@pytest.mark.parametrize("mode", ["block", "allow"])
def test_other_modes_leave_every_row_as_it_is(mode: Mode) -> None:
    rows = (example("Mail jane@example.com, password: hunter22x"), example("fine"))
    result = guarded(*rows, mode=mode)
    assert result.dataset.examples == rows
    assert result.values == {}
    assert {result.pii.status, result.secrets.status} == {"refuse" if mode == "block" else "warn"}
    assert (result.pii.count, result.secrets.count) == (1, 1)
    assert result.pii.remedy


def test_modes_that_redact_nothing_need_no_redactor() -> None:
    dataset = LabeledDataset((example("Policy POL-123456"),), fingerprint="f", format="chat-jsonl")
    result = apply(dataset, mode="block", patterns={"policy": r"POL-\d{6}"})
    assert result.pii.status == "refuse"
    assert result.counts == {"policy": 1}
    with pytest.raises(ValueError, match="takes a redactor"):
        apply(dataset, mode="redact")


def test_the_system_prompt_is_reported_and_kept() -> None:
    row = example("hello")
    row = replace(
        row, messages=(Message("system", "Hand over to desk@insurer.example, api_key=9fK2mQ8xLw7"), *row.messages[1:])
    )
    result = guarded(row, replace(row, id="r-2"))
    assert result.dataset.examples[0] is row
    assert (result.pii.status, result.pii.count) == ("warn", 0)
    assert "the system prompt holds email 1" in result.pii.detail
    assert "the system prompt holds secret 1" in result.secrets.detail
    assert result.counts == {}


def test_a_prompt_alone_blocks_nothing() -> None:
    row = example("hello", messages=(Message("system", "Hand over to desk@insurer.example"), Message("user", "hello")))
    assert guarded(row, mode="block").pii.status == "warn"


def test_an_id_that_is_an_address_is_reported() -> None:
    result = guarded(example("hello", id="jane@example.com"))
    assert result.pii.status == "warn"
    assert "1 ids hold an e-mail address" in result.pii.detail
    assert "jane" not in repr(result.pii)


def test_labels_are_not_touched() -> None:
    labels = ("mail support@example.com", "Other")
    use_case = UseCase(name="triage", type="classification", system_prompt="Sort.", labels=labels)
    row = example("from jane@example.com", labels[0])
    (redacted,) = guarded(row, use_case=use_case).dataset.examples
    assert redacted.answer == labels[0]
    assert "jane" not in redacted.messages[1].content


def extraction(**properties: object) -> UseCase:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return UseCase(name="fields", type="extraction", system_prompt="Extract.", schema=schema, parse="json")


def test_extracted_answers_stay_json_that_fits() -> None:
    use_case = extraction(email={"type": "string"}, amount={"type": "number"})
    result = guarded(example("I am jane@example.com", '{"email": "jane@example.com", "amount": 12.5}'), use_case=use_case)
    answer = orjson.loads(result.dataset.examples[0].answer)
    assert answer["amount"] == 12.5
    assert answer["email"] in result.values
    assert result.pii.status == "warn"


@pytest.mark.parametrize(
    ("schema", "value"),
    [({"type": "integer"}, "4111111111111111"), ({"type": "string", "maxLength": 16}, '"4111111111111111"')],
)
def test_an_answer_that_no_longer_fits_is_refused(schema: dict[str, object], value: str) -> None:
    result = guarded(example("card", f'{{"card": {value}}}'), use_case=extraction(card=schema))
    assert json.loads(result.dataset.examples[0].answer)["card"].startswith("[CARD_")
    assert result.pii.status == "refuse"
    assert "1 answers no longer fit the use case once redacted, first rows.jsonl:7: does not fit" in result.pii.detail
    assert "4111" not in repr(result.pii)


def test_a_pattern_without_end_names_the_row() -> None:
    dataset = LabeledDataset((example("fine"), example("a" * 60, line=8)), fingerprint="f", format="chat-jsonl")
    with pytest.raises(ConfigError, match=r"^rows\.jsonl:8: data\.identifiers\.code: takes more than 1 s"):
        apply(dataset, mode="allow", patterns={"code": "(a|aa)+c"})


def test_checks_name_the_first_rows_only() -> None:
    result = guarded(*(example(f"I am jane{n}@example.com", line=n) for n in range(1, 30)))
    assert result.pii.count == 29
    assert [text.split(": ")[0] for text in result.pii.examples] == [f"rows.jsonl:{n}" for n in range(1, 6)]


def test_the_demo_client_has_two_addresses_and_two_telephones() -> None:
    dataset = load([str(ROOT / "clients" / "demo-insurer" / "data" / "labeled.jsonl")])
    result = apply(dataset, mode="redact", redactor=Redactor(KEY))
    assert result.counts == {"email": 2, "phone": 2}
    assert result.secrets.status == "ok"


@pytest.mark.parametrize("name", ["banking77/train", "banking77/test", "fomc/train", "fomc/test"])
def test_public_texts_without_identifiers_raise_no_alarm(shared_data: Path, name: str) -> None:
    rows = [orjson.loads(line) for line in (shared_data / f"{name}.jsonl").read_bytes().splitlines()]
    texts = [value for row in rows for value in row.values() if isinstance(value, str)]
    examples = tuple(example(text, id=str(n), line=n) for n, text in enumerate(texts))
    result = apply(LabeledDataset(examples, "f", "chat-jsonl"), mode="block")
    assert len(examples) > 400
    assert (result.pii.status, result.secrets.status) == ("ok", "ok"), result
