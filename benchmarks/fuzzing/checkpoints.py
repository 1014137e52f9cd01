"""Small sound bases and an honest candidate of each, as transformers saves them, held in memory as files by name."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.words import DECOYS

KINDS = ("llama", "qwen2", "gpt2", "mixtral")
PROMPTS = [[5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16], [17, 18, 19, 20], [21, 22, 23, 24], [25, 26, 27, 28]]
"""Token ids that every model here is asked to go on from."""

EOS, WRITTEN = 2, 14
CHAT = "{% for message in messages %}<s>{{ message['role'] }}\n{{ message['content'] }}</s>{% endfor %}"
SHAPE = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
BYTES = {"vocab_size": 272, "initializer_range": 0.4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Odd:
    """What lies in a file's place: a link to `target`, a pipe, or a folder."""

    kind: str
    target: str = ""


Files = Mapping[str, bytes | Odd]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A base, its honest candidate, and files that the candidate's keys may point at."""

    kind: str
    base: Files
    candidate: Files
    decoys: Files


def put(files: Files, directory: Path) -> None:
    """Write these files into a new directory."""
    directory.mkdir(parents=True)
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content.kind == "link":
            path.symlink_to(content.target)
        elif content.kind == "pipe":
            os.mkfifo(path)
        else:
            path.mkdir()


def world(kind: str, directory: Path) -> World:
    """The world of one model type, the same each time; `directory` is used to save in."""
    import torch

    model = _model(kind)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.copy_(
                torch.randn(tensor.shape, generator=generator) * 0.4 + (1.0 if "norm" in name or "ln_" in name else 0)
            )
        edited = [tensor for name, tensor in model.named_parameters() if "k_proj" in name or "c_attn" in name][:2]
        for tensor in edited:
            tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.2)
        _relabel(model, _ended(model))
        candidate = _saved(kind, model, directory / f"{kind}-candidate")
        for tensor in edited:
            tensor.mul_(0.5)
        base = _saved(kind, model, directory / f"{kind}-base")
        for tensor in model.parameters():
            tensor.mul_(-1.5)
    other = _saved(kind, model, directory / f"{kind}-decoy")
    base, candidate = {**base}, {**candidate}
    return World(kind=kind, base=base, candidate=candidate, decoys=_decoys(candidate, other))


def _decoys(candidate: Files, other: Files) -> Files:
    weights = other[next(name for name in sorted(other) if name.endswith(".safetensors"))]
    config = {**json.loads(_bytes(candidate["config.json"])), "rms_norm_eps": 0.5, "layer_norm_epsilon": 0.5}
    tokenizer = json.loads(_bytes(candidate["tokenizer.json"]))
    names = [name for name in tokenizer["model"]["vocab"] if name not in ("<unk>", "<s>", "</s>", "<pad>")]
    numbers = [tokenizer["model"]["vocab"][name] for name in names]
    tokenizer["model"]["vocab"] |= dict(zip(names, reversed(numbers), strict=True))
    index = {"metadata": {}, "weight_map": dict.fromkeys(_header(_bytes(weights)), DECOYS[0])}
    return {
        DECOYS[0]: weights,
        DECOYS[1]: json.dumps(index).encode(),
        DECOYS[2]: json.dumps(config).encode(),
        DECOYS[3]: json.dumps(tokenizer).encode(),
    }


def _bytes(content: bytes | Odd) -> bytes:
    assert isinstance(content, bytes)
    return content


def _header(raw: bytes) -> list[str]:
    found = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return [name for name in found if name != "__metadata__"]


def _model(kind: str) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    ids = {"bos_token_id": 1, "eos_token_id": EOS, "pad_token_id": None, "max_position_embeddings": 64}
    shapes = {
        "llama": {**SHAPE, **ids, "num_key_value_heads": 1},
        "qwen2": {**SHAPE, **BYTES, **ids, "num_key_value_heads": 2, "tie_word_embeddings": True},
        "gpt2": {"vocab_size": 272, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "eos_token_id": EOS},
        "mixtral": {**SHAPE, **ids, "num_key_value_heads": 1, "num_local_experts": 2, "num_experts_per_tok": 1},
    }
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shapes[kind]), dtype=torch.float32).eval()


def _ended(model: Any) -> int:
    """A token that the greedy answers of this model come to, neither at once nor in a prompt."""
    import torch

    ids = torch.tensor(PROMPTS)
    written = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=WRITTEN,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    rows = written[:, len(PROMPTS[0]) :].tolist()
    late = [token for row in rows for token in row[3:] if token > 28 or token in (3, 4)]
    return max(set(late), key=late.count)


def _relabel(model: Any, token: int) -> None:
    """Let `token` and EOS change places in the embedding and the head, so that answers end."""
    for matrix in {
        id(each.weight): each.weight for each in (model.get_input_embeddings(), model.get_output_embeddings())
    }.values():
        matrix[[EOS, token]] = matrix[[token, EOS]]


def _saved(kind: str, model: Any, directory: Path) -> dict[str, bytes]:
    model.generation_config.eos_token_id = EOS
    model.save_pretrained(directory, max_shard_size="20KB" if kind == "qwen2" else "5GB")
    (_words() if kind in ("llama", "mixtral") else _bytewise()).save_pretrained(directory)
    if kind == "llama":
        (directory / "special_tokens_map.json").write_text(
            '{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}'
        )
        (directory / "added_tokens.json").write_text('{"<pad>": 3}')
    if kind != "mixtral":
        (directory / "unlearn_guard.json").write_text('{"method": "npo", "seed": 1, "hyperparameters": {"lr": 1e-5}}')
    if kind == "qwen2":  # as releases before the template had a file of its own
        path = directory / "tokenizer_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": CHAT}))
        (directory / "chat_template.jinja").unlink()
        (directory / "generation_config.json").unlink()
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def _words() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    names = ["<unk>", "<s>", "</s>", "<pad>", *(f"w{number}" for number in range(4, SHAPE["vocab_size"]))]
    backend = Tokenizer(models.WordLevel({name: at for at, name in enumerate(names)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    return _dressed(backend, pad_token="<pad>")


def _bytewise() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("w", "1")]
    names = ["<unk>", "<s>", "</s>", "<pad>", *letters, *("".join(pair) for pair in merges)]
    backend = Tokenizer(models.BPE({name: at for at, name in enumerate(names)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return _dressed(backend)


def _dressed(backend: Any, **tokens: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>", model_max_length=64, **tokens
    )
    made.chat_template = CHAT
    return made
