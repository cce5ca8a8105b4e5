from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from delivery.artifacts import Artifact, BaseModel, Progress, to_json, verify_artifact
from delivery.errors import ConfigError, IntegrityError
from delivery.quantization import formats as making
from delivery.quantization import quantize
from tests.delivery.quantization.conftest import make_adapter


def _left(out: Path) -> set[str]:
    return {p.name for p in out.iterdir()} - {".lock"}


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_formats_of_a_tiny_model_load_and_answer_as_they_should(
    tiny_base: BaseModel, tiny_adapter: Artifact, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    seen: list[Progress] = []
    made = quantize(("nf4", "merged", "adapter"), base=tiny_base, adapter=tiny_adapter, out=tmp_path, on_progress=seen.append)

    assert [a.format for a in made] == ["nf4", "merged", "adapter"]
    assert (seen[-1].done, seen[-1].total) == (3, 3)
    nf4, merged, adapter = (Path(a.path) for a in made)
    assert set(made[2].files) == {"adapter_config.json", "adapter_model.safetensors"}
    for artifact in made:
        verify_artifact(artifact)
        assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in artifact.files)

    ids = torch.arange(5, 25)[None]
    base = AutoModelForCausalLM.from_pretrained(tiny_base.path, dtype=torch.float32)
    with torch.no_grad():
        plain = base(ids).logits
        wanted = PeftModel.from_pretrained(base, adapter)(ids).logits
        full = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)(ids).logits
        four_bit = AutoModelForCausalLM.from_pretrained(nf4)(ids).logits.float()
    scale = (wanted - plain).abs().max()
    assert (full - wanted).abs().max() < 0.1 * scale
    assert 0 < (four_bit - full).abs().max() < wanted.abs().max()
    assert json.loads((nf4 / "config.json").read_text())["quantization_config"]["bnb_4bit_quant_type"] == "nf4"
    for folder in (merged, nf4):
        assert (
            AutoTokenizer.from_pretrained(folder).chat_template == AutoTokenizer.from_pretrained(tiny_base.path).chat_template
        )
    assert str(tiny_base.path) not in (nf4 / "config.json").read_text()


def test_complete_formats_are_used_again_and_only_what_changed_is_made(
    tiny_base: BaseModel, tiny_adapter: Artifact, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = quantize(("adapter", "merged"), base=tiny_base, adapter=tiny_adapter, out=out)
    seen: list[Progress] = []
    assert quantize(("adapter", "merged"), base=tiny_base, adapter=tiny_adapter, out=out, on_progress=seen.append) == first
    assert not seen

    _flip(out / "merged" / "model.safetensors")
    assert quantize(("adapter", "merged"), base=tiny_base, adapter=tiny_adapter, out=out, on_progress=seen.append) == first
    assert {p.note for p in seen} == {"merged"}

    other = make_adapter(Path(tiny_base.path), tmp_path / "other", seed=5)
    changed = quantize(("merged",), base=tiny_base, adapter=other, out=out)
    assert changed[0].sha256 != first[1].sha256


@pytest.mark.parametrize("point", ["_publish", "write_atomic", "_sync"])
def test_a_killed_run_leaves_no_half_format(point: str, plain_base: BaseModel, plain_adapter: Artifact, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from delivery.artifacts import Artifact, BaseModel, from_json\n"
        "from delivery.quantization import formats, quantize\n"
        f"formats.{point} = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "base, adapter = from_json(BaseModel, sys.argv[1].encode()), from_json(Artifact, sys.argv[2].encode())\n"
        "quantize(('adapter',), base=base, adapter=adapter, out=Path(sys.argv[3]))\n"
    )
    arguments = [to_json(plain_base).decode(), to_json(plain_adapter).decode(), str(out)]
    killed = subprocess.run([sys.executable, "-c", script, *arguments], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert all(name.startswith(".staging-") for name in _left(out))
    (made,) = quantize(("adapter",), base=plain_base, adapter=plain_adapter, out=out)
    verify_artifact(made)
    assert _left(out) == {"adapter"}


@pytest.mark.parametrize("damage", ["manifest", "file", "half"])
def test_a_format_that_is_not_whole_is_made_again(
    damage: str, plain_base: BaseModel, plain_adapter: Artifact, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (first,) = quantize(("adapter",), base=plain_base, adapter=plain_adapter, out=out)
    if damage == "manifest":
        (out / "adapter" / "manifest.json").write_text('["not a manifest"]')
    elif damage == "file":
        _flip(out / "adapter" / "adapter_model.safetensors")
    else:
        (out / "adapter" / "adapter_config.json").unlink()
    assert quantize(("adapter",), base=plain_base, adapter=plain_adapter, out=out) == (first,)
    verify_artifact(first)


def test_a_flipped_bit_in_the_adapter_is_refused(plain_base: BaseModel, plain_adapter: Artifact, tmp_path: Path) -> None:
    _flip(Path(plain_adapter.path, "adapter_model.safetensors"))
    with pytest.raises(IntegrityError, match=r"adapter_model\.safetensors: is not the file that was recorded"):
        quantize(("adapter",), base=plain_base, adapter=plain_adapter, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_small_a_disk_is_refused_before_anything_is_made(
    plain_base: BaseModel, plain_adapter: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**30, 2**30 - 2**20, 2**20))
    with pytest.raises(ConfigError, match=r"MiB are needed for adapter, merged, but 1 MiB are free") as caught:
        quantize(("merged",), base=plain_base, adapter=plain_adapter, out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not _left(tmp_path / "out")


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(
    failure: Exception, plain_base: BaseModel, plain_adapter: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: making.Job, out: Path) -> None:
        out.mkdir()
        (out / "model.safetensors").write_bytes(b"half")
        raise failure

    monkeypatch.setitem(making.MAKERS, "merged", fill)
    with pytest.raises(ConfigError, match=r"the disk is full; \d+ MiB are needed") as caught:
        quantize(("merged",), base=plain_base, adapter=plain_adapter, out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert _left(tmp_path / "out") == {"adapter"}


@pytest.mark.parametrize(
    "said",
    ["OSError: [Errno 28] No space left on device", "OSError: 940032 requested and 518816 written\nWriting:  72%|"],
)
def test_a_disk_that_fills_up_while_converting_is_one_line(
    said: str, plain_base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], returncode=1, stdout="", stderr=f"Traceback:\n{said}")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ConfigError, match=r"the disk is full; \d+ MiB are needed"):
        quantize(("gguf-q8_0",), base=plain_base, adapter=None, out=tmp_path)
    assert not _left(tmp_path)


def test_an_untuned_base_has_no_adapter(plain_base: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no adapter"):
        quantize(("adapter",), base=plain_base, adapter=None, out=tmp_path / "out")


def test_a_tokenizer_that_llama_cpp_does_not_know_is_one_line(tiny_base: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be converted to GGUF \(NotImplementedError: .*\); take gguf-q8_0") as caught:
        quantize(("gguf-q8_0",), base=tiny_base, adapter=None, out=tmp_path)
    assert "\n" not in str(caught.value)
    assert not _left(tmp_path)


@pytest.mark.slow
def test_a_gguf_of_real_layers_is_small_and_says_nothing_of_this_machine(shallow: BaseModel, tmp_path: Path) -> None:
    from gguf import GGUFReader

    adapter = make_adapter(Path(shallow.path), tmp_path / "trained")
    (gguf,) = quantize(("gguf-q8_0",), base=shallow, adapter=adapter, out=tmp_path / "out")
    assert gguf.bytes < 0.6 * (2 * shallow.parameters)
    reader = GGUFReader(Path(gguf.path, "model.gguf"))
    texts = [str(field.contents()) for name, field in reader.fields.items() if "tokens" not in name and "merges" not in name]
    assert "<|im_start|>" in reader.get_field("tokenizer.chat_template").contents()  # type: ignore[union-attr]
    assert not any(str(tmp_path) in text or shallow.path in text for text in texts)


@pytest.mark.slow
def test_nf4_of_the_real_base_is_small_and_answers_in_a_clean_process(smollm2: BaseModel, tmp_path: Path) -> None:
    adapter = make_adapter(Path(smollm2.path), tmp_path / "trained")
    (nf4,) = quantize(("nf4",), base=smollm2, adapter=adapter, out=tmp_path / "out")
    assert nf4.bytes < 0.5 * (2 * smollm2.parameters)

    script = (
        "import sys, torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "assert model.is_loaded_in_4bit\n"
        "chat = [{'role': 'user', 'content': 'What is the capital of France?'}]\n"
        "ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors='pt')['input_ids']\n"
        "out = model.generate(ids, max_new_tokens=8, do_sample=False)\n"
        "sys.stdout.write(tokenizer.decode(out[0, ids.shape[1]:]))\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, nf4.path], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Paris" in done.stdout


@pytest.mark.parametrize(("template", "there"), [("{{ messages }}", True), ("", False), (None, False)])
def test_a_gguf_that_would_be_served_with_a_wrong_template_is_known(template: str | None, there: bool, tmp_path: Path) -> None:
    from gguf import GGUFWriter

    from delivery.quantization.gguf import _has_chat_template

    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_token_list(["a", "b"])
    if template is not None:
        writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert _has_chat_template(tmp_path / "model.gguf") is there
