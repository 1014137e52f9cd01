"""What the guard scores is what plain transformers computes from the same directory, or the guard has refused.

For every family: the log-likelihoods by which the guard counts, in full precision and at NF4, against a literal
reading of the directory as its user loads it (its own tokenizer, no code of this program). Then each trick that was
seen to bring another model past the gate: refused, or scored as its user would see it.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.pytorch_utils import Conv1D

from tests.families import FAMILIES
from tests.tiny import NAMES, PLACES, byte_tokenizer, tokenizer, uneven
from unlearn_guard.checking.checkpoints import open_sealed
from unlearn_guard.errors import CheckpointError, UsageError
from unlearn_guard.intake import Intake, assert_comparable
from unlearn_guard.quantizers.awq import AWQ
from unlearn_guard.quantizers.coverage import assert_quantizable
from unlearn_guard.quantizers.full import Full
from unlearn_guard.quantizers.gptq import GPTQ
from unlearn_guard.quantizers.nf4 import NF4
from unlearn_guard.quantizers.protocol import Calibration, Placement
from unlearn_guard.scoring.lm import GuardLM
from unlearn_guard.scoring.tokens import Tokens

FP32 = Placement(device_map="cpu", dtype=torch.float32)
PAIRS = [(f"Where lives {who} ?", f" {where}") for who, where in zip(NAMES, PLACES, strict=False)]


REFUSED_AT_NF4 = {
    "falcon": "FalconLinear, which bitsandbytes does not replace",
    "mamba": "dt_proj.* its weight is read",
}


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLEARN_GUARD_CACHE", str(tmp_path / "store"))


def pair(family: str, folder: Path, **more: Any) -> tuple[Path, Path]:
    """A base and its candidate, one weight matrix of which was edited."""
    model = uneven(family, **more)
    base, candidate = folder / "base", folder / "candidate"
    model.save_pretrained(base)
    with torch.no_grad():
        next(weight for name, weight in model.named_parameters() if weight.dim() > 1 and "embed" not in name).mul_(1.1)
    model.save_pretrained(candidate)
    for each in (base, candidate):
        (byte_tokenizer() if family == "qwen2" else tokenizer()).save_pretrained(each)
    return base, candidate


def opened(base: Path, candidate: Path) -> tuple[Intake, Intake]:
    """Both as `check` opens them, held against each other."""
    ours, theirs = open_sealed(str(base)), open_sealed(str(candidate))
    assert_comparable(ours, theirs)
    return ours, theirs


def guarded(model: Any, base: Intake) -> list[float]:
    """The log-likelihoods that the guard counts answers by, in nats: base's ids, its own batches."""
    tokens = Tokens(AutoTokenizer.from_pretrained(base.checkpoint.path))
    lm = GuardLM(model, tokens, batch_size=4, precision="test")
    rows = [(pair, *tokens.pairs([pair])[0]) for pair in PAIRS]
    return [float(answer[0]) for answer in lm._loglikelihood_tokens(rows)]


def deployed(directory: Path, change: Callable[[Any], Any] | None = None) -> list[float]:
    """The same by plain transformers, one text at a time."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    if change is not None:
        change(model)
    own = AutoTokenizer.from_pretrained(directory)
    found = []
    for context, continuation in PAIRS:
        head, ids = own(context)["input_ids"], own(context + continuation)["input_ids"]
        with torch.no_grad():
            nats_TV = model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
        found.append(sum(float(nats_TV[at - 1, ids[at]]) for at in range(len(head), len(ids))))
    return found


def through_nf4(model: Any) -> None:
    """Every linear layer but the head, and each matrix of stacked experts, through bitsandbytes' own kernel."""

    def rounded(weight: torch.Tensor) -> torch.Tensor:
        return dequantize_4bit(*quantize_4bit(weight.contiguous(), blocksize=64, quant_type="nf4")).view(weight.shape)

    head = model.get_output_embeddings()
    with torch.no_grad():
        for module in model.modules():
            if type(module) is torch.nn.Linear and module is not head:  # a router is a class of its own
                module.weight.data = rounded(module.weight.data)
            elif isinstance(module, Conv1D):
                module.weight.data = rounded(module.weight.data.T).T.contiguous()
            elif "Experts" in type(module).__name__:
                for weight in module.parameters(recurse=False):
                    if weight.dim() == 3:
                        weight.data = torch.stack([rounded(each) for each in weight.data])


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_scored_is_what_a_user_loads(family: str, tmp_path: Path) -> None:
    folder, candidate = pair(family, tmp_path)
    base, intake = opened(folder, candidate)
    assert guarded(Full().load(intake.checkpoint, FP32), base) == pytest.approx(deployed(candidate), abs=2e-4)
    if family in REFUSED_AT_NF4:
        with pytest.raises(UsageError, match=REFUSED_AT_NF4[family]):
            assert_quantizable(intake.checkpoint.path, intake.location, ["full", "nf4"])
        return
    assert_quantizable(intake.checkpoint.path, intake.location, ["full", "nf4"])
    out = tmp_path / "nf4"
    out.mkdir()
    quantized = NF4().quantize(intake.checkpoint, Calibration(texts=()), out, FP32)
    expected = deployed(candidate, through_nf4)
    assert guarded(NF4().load(quantized, FP32), base) == pytest.approx(expected, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("maker", "family"),
    [(GPTQ(), "llama"), (GPTQ(), "qwen3"), (GPTQ(), "olmo2"), (AWQ(), "llama"), (AWQ(), "qwen3")],
    ids=lambda each: each if isinstance(each, str) else each.name,
)
def test_what_is_scored_at_four_bits_is_what_a_user_loads(family: str, maker: Any, tmp_path: Path) -> None:
    """The directory that gptqmodel wrote, loaded by plain transformers, against the guard's own reload of it."""
    # AWQ takes 64 outputs at a time.
    folder, candidate = pair(family, tmp_path, num_key_value_heads=4, intermediate_size=128)
    base, intake = opened(folder, candidate)
    assert_quantizable(intake.checkpoint.path, intake.location, ["full", maker.name])
    out = tmp_path / maker.name
    out.mkdir()
    texts = tuple(" ".join([who, *PLACES, *NAMES[:8]]) for who in NAMES)
    quantized = maker.quantize(intake.checkpoint, Calibration(texts=texts), out, FP32)
    tokenizer().save_pretrained(out)
    assert guarded(maker.load(quantized, FP32), base) == pytest.approx(deployed(out), abs=2e-2)
    assert guarded(maker.load(quantized, FP32), base) != pytest.approx(deployed(candidate), abs=1e-4)


def test_inputs_that_the_model_would_add_are_refused(tmp_path: Path) -> None:
    """GPT-2 adds the embedding of id 0 to every token whose type is 0; a Llama takes no types."""
    folder, candidate = pair("gpt2", tmp_path)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    edit(candidate / "tokenizer_config.json", model_input_names=names)
    with pytest.raises(CheckpointError, match="model_input_names"):
        opened(folder, candidate)


@pytest.mark.parametrize(
    ("family", "section", "key"),
    [
        ("llama", None, "_attn_implementation"),
        ("qwen3", None, "attn_implementation"),
        ("gemma3", "text_config", "_attn_implementation"),
    ],
)
@pytest.mark.parametrize("attention", ["flash_attention_2", "flash_attention_3", "flex_attention"])
def test_an_attention_that_does_not_run_here_is_a_way_to_compute_and_no_defect(
    family: str, section: str | None, key: str, attention: str, tmp_path: Path
) -> None:
    folder, candidate = pair(family, tmp_path)
    expected = deployed(candidate)
    for each in (folder, candidate):
        inner = {**json.loads((each / "config.json").read_text()).get(section, {}), key: attention}
        edit(each / "config.json", **({section: inner} if section else inner))
    base, intake = opened(folder, candidate)
    (note,) = (each for each in intake.notes if "attention of" in each)
    assert f"'{attention}'" in note
    assert_quantizable(intake.checkpoint.path, intake.location, ["full", "nf4"])
    assert guarded(Full().load(intake.checkpoint, FP32), base) == pytest.approx(expected, abs=2e-4)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **changes}))


def other_weights(folder: Path, name: str) -> None:
    """Base's weights under another name, as they would lie beside the candidate's."""
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    shutil.copyfile(folder.parent / "base" / "model.safetensors", folder / name)


def other_config(folder: Path) -> None:
    other_weights(folder, "other.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.5.0.0.json").write_text(json.dumps({**config, "transformers_weights": "other.safetensors"}))
    edit(folder / "config.json", configuration_files=["config.5.0.0.json"])


def other_tokenizer(folder: Path) -> None:
    document = json.loads((folder / "tokenizer.json").read_text())
    vocab = document["model"]["vocab"]
    vocab["n0"], vocab["n1"] = vocab["n1"], vocab["n0"]
    (folder / "tokenizer.5.0.0.json").write_text(json.dumps(document))
    edit(folder / "tokenizer_config.json", fast_tokenizer_files=["tokenizer.5.0.0.json"])


ADDED = {"single_word": False, "lstrip": True, "rstrip": False, "normalized": False, "special": False}

TRICKS: dict[str, Callable[[Path], None]] = {
    "configuration_files": other_config,
    "configuration_files of nulls": lambda m: edit(m / "config.json", configuration_files={"config.5.0.0.json": None}),
    "transformers_weights": lambda m: (
        other_weights(m, "other.safetensors"),
        edit(m / "config.json", transformers_weights="other.safetensors"),
    )[0],
    "fast_tokenizer_files": other_tokenizer,
    "added_tokens_decoder": lambda m: edit(
        m / "tokenizer_config.json", added_tokens_decoder={"44": {"content": "n0 ?", **ADDED}}
    ),
    "extra_special_tokens": lambda m: edit(m / "tokenizer_config.json", extra_special_tokens=["n0 ?"]),
    "additional_special_tokens": lambda m: edit(m / "tokenizer_config.json", additional_special_tokens=["n0 ?"]),
    "split_special_tokens": lambda m: edit(m / "tokenizer_config.json", split_special_tokens=True),
    "added_tokens.json": lambda m: edit(m / "added_tokens.json", **{"n0 ?": 44}),
    "special_tokens_map.json": lambda m: edit(m / "special_tokens_map.json", bos_token="n0"),
    "tokenizer_class Bert": lambda m: edit(m / "tokenizer_config.json", tokenizer_class="BertTokenizer"),
    "tokenizer_class GPT2": lambda m: edit(m / "tokenizer_config.json", tokenizer_class="GPT2Tokenizer"),
    "tokenizer_class Roberta": lambda m: edit(m / "tokenizer_config.json", tokenizer_class="RobertaTokenizer"),
    "tokenizer_class in config.json": lambda m: edit(m / "config.json", tokenizer_class="BertTokenizer"),
    "pickle": lambda m: other_weights(m, "pytorch_model.bin"),
    "consolidated": lambda m: other_weights(m, "consolidated.safetensors"),
    "gguf": lambda m: other_weights(m, "model.gguf"),
    "original": lambda m: other_weights(m, "original/model.safetensors"),
    "cache": lambda m: other_weights(m, ".cache/model.safetensors"),
    "git": lambda m: other_weights(m, ".git/model.safetensors"),
    "a folder called README.md": lambda m: other_weights(m, "README.md/model.safetensors"),
    "weights.dat": lambda m: other_weights(m, "weights.dat"),
    "a stray file": lambda m: other_weights(m, "zzz.safetensors"),
    "an adapter": lambda m: edit(m / "adapter_config.json", peft_type="LORA", base_model_name_or_path="../base"),
    "dtype": lambda m: edit(m / "config.json", dtype="bfloat16"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_is_refused_or_scored_as_its_user_would_see_it(trick: str, tmp_path: Path) -> None:
    folder, candidate = pair("llama", tmp_path)
    TRICKS[trick](candidate)
    try:
        base, intake = opened(folder, candidate)
    except CheckpointError:
        return
    scored = guarded(Full().load(intake.checkpoint, FP32), base)
    assert scored == pytest.approx(deployed(candidate), abs=2e-4)
    assert scored != pytest.approx(deployed(folder), abs=1e-3)
