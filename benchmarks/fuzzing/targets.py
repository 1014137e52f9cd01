"""The parts of a checkpoint that are mutated, and how one input is drawn: seed and index decide all of it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from benchmarks.fuzzing.checkpoints import Files, Odd, World
from benchmarks.fuzzing.mutations import Words, damaged, document
from benchmarks.fuzzing.words import (
    JINJA,
    NAMES,
    SUSPICIOUS,
    TOKENIZER_KEYS,
    TOKENIZER_PARTS,
    config_words,
    generation_words,
    tokenizer_words,
)

Step = Callable[[Random, World, dict[str, bytes | Odd]], None]
DTYPES = ("F32", "F16", "BF16", "F64", "I32", "U8", "F8_E4M3", "F4", "C64", "f32")
HEADER = Words(
    ("__metadata__", "dtype", "shape", "data_offsets", "lm_head.weight", "model.norm.weight"),
    values=(*DTYPES, [0, 4], [4, 0], [0, 2**63], [2**32, 2**32], [0]),
)
SHARDS = tuple(f"model-0000{part}-of-00002.safetensors" for part in (1, 2, 3))
INDEX = Words(
    ("weight_map", "metadata", "lm_head.weight", "model.norm.weight"),
    values=(*SHARDS, "model.safetensors", "../x.safetensors", "x.bin"),
)
ADDED = ("<pad>", "w9", "zz", "40", "5")
MANIFEST = Words(("base", "base_digest", "suite", "method", "corpora_digest", "hyperparameters", "seed", "curve"))
TOKENIZER = Words(TOKENIZER_KEYS, values=TOKENIZER_PARTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input: which world and target, and the seeds of its changes, any of which can be left out."""

    index: int
    target: str
    kind: str
    steps: tuple[str, ...]
    decoys: bool


def draw(seed: int, index: int, kinds: tuple[str, ...], only: str | None) -> Input:
    """The input of this index."""
    rng = Random(f"{seed}:{index}")
    target = only or rng.choices(tuple(TARGETS), tuple(WEIGHTS[name] for name in TARGETS))[0]
    count = rng.choices((1, 2, 3), (0.6, 0.25, 0.15))[0]
    steps = tuple(f"{seed}:{index}:{step}" for step in range(count))
    return Input(index=index, target=target, kind=rng.choice(kinds), steps=steps, decoys=rng.random() < 0.2)


def build(one: Input, world: World) -> Files:
    """The candidate's files with the changes of this input."""
    files: dict[str, bytes | Odd] = {**world.candidate, **(world.decoys if one.decoys else {})}
    for step in one.steps:
        TARGETS[one.target](Random(step), world, files)
    return files


def _json(name: str, words: Callable[[World], Words]) -> Step:
    def change(rng: Random, world: World, files: dict[str, bytes | Odd]) -> None:
        now = files.get(name, b"{}")
        if isinstance(now, bytes):
            files[name] = document(rng, now, words(world))

    return change


def _config(world: World) -> Words:
    keys, known = config_words(world.kind)
    present = tuple(json.loads(_whole(world.candidate["config.json"])))
    return Words((*keys, *present * (len(keys) // (2 * len(present)))), SUSPICIOUS, known=known)


def _whole(content: bytes | Odd) -> bytes:
    assert isinstance(content, bytes)
    return content


def _weights_file(rng: Random, files: Files) -> str:
    return rng.choice(
        [name for name in sorted(files) if name.startswith("model") and name.endswith(".safetensors")] or [""]
    )


def _header(rng: Random, _: World, files: dict[str, bytes | Odd]) -> None:
    name = _weights_file(rng, files)
    raw = files.get(name)
    if not isinstance(raw, bytes) or len(raw) < 8:
        return
    length = int.from_bytes(raw[:8], "little")
    header, data = raw[8 : 8 + length], raw[8 + length :]
    header = document(rng, header, HEADER)
    size = rng.choices((len(header), length, 2**63, 2**64 - 1, 0, len(header) + 8, len(raw)), (40, 4, 1, 1, 1, 1, 1))[0]
    files[name] = (
        size.to_bytes(8, "little") + header + rng.choices((data, data[:-4], data + b"\0" * 4, b""), (20, 1, 1, 1))[0]
    )


def _weights(rng: Random, _: World, files: dict[str, bytes | Odd]) -> None:
    """Numbers: changed, scaled, not finite; or tensors in another dtype, order or file."""
    name = _weights_file(rng, files)
    raw = files.get(name)
    if not isinstance(raw, bytes) or len(raw) < 16:
        return
    length = int.from_bytes(raw[:8], "little")
    if rng.random() < 0.3 or length > len(raw):
        files[name] = damaged(rng, raw)
        return
    words = bytearray(raw[8 + length :])
    for _number in range(rng.choice((1, 4, 200))):
        at = 4 * rng.randrange(max(1, len(words) // 4))
        words[at : at + 4] = rng.choice(
            (b"\0\0\xc0\x7f", b"\0\0\x80\xff", b"\0\0\0\x40", b"\xff\xff\x7f\x7f", rng.randbytes(4), b"\0" * 4)
        )
    files[name] = raw[: 8 + length] + bytes(words)


def _template(rng: Random, world: World, files: dict[str, bytes | Odd]) -> None:
    names = (
        "chat_template.jinja",
        "chat_template.jinja",
        "additional_chat_templates/x.jinja",
        "x.jinja",
        "chat_template.json",
    )
    name = rng.choice((*names, "additional_chat_templates/default.jinja", "tokenizer_config.json"))
    text = _whole(world.candidate.get("chat_template.jinja", b"{{ messages }}"))
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(text) + 1)
        piece = rng.choice(JINJA).encode("utf-8", "surrogatepass")
        text = rng.choice((text[:at] + piece + text[at:], piece, damaged(rng, text), text + piece))
    if name.endswith(".json"):
        where = json.loads(_whole(world.candidate.get(name, b"{}")))
        inner = text.decode("utf-8", "replace")
        where["chat_template"] = rng.choice(
            (inner, [{"name": "default", "template": inner}], {"x": inner}, [inner], [{}])
        )
        text = json.dumps(where).encode()
    files[name] = text


def _names(rng: Random, world: World, files: dict[str, bytes | Odd]) -> None:
    """A file more, a file less, one under another name, or something that is no file."""
    present, kind = sorted(files), rng.randrange(7)
    name = rng.choice((rng.choice(NAMES), rng.choice(present)))
    if kind <= 1:
        content = files.get(rng.choice(present), b"")
        files[name] = rng.choice((content, b"", b"{}", rng.randbytes(40), b"text", *world.decoys.values()))
    elif kind == 2:
        files.pop(rng.choice(present))
    elif kind == 3:
        files[name] = files.pop(rng.choice(present))
    elif kind == 4:
        target = rng.choice(
            ("config.json", "/etc/passwd", "../base/config.json", "gone", name.split("/")[-1], ".", "/dev/zero")
        )
        files[name] = Odd(kind="link", target=target)
    elif kind == 5:
        files[name] = Odd(kind=rng.choice(("pipe", "folder")))
    else:
        single = files.pop("model.safetensors", None)
        if single is not None:
            shard = "model-00001-of-00001.safetensors"
            files[shard] = single
            raw = _whole(single) if isinstance(single, bytes) else b"\0" * 8 + b"{}"
            header = _names_in(raw)
            value = {"metadata": {}, "weight_map": dict.fromkeys(header, shard)}
            files["model.safetensors.index.json"] = document(rng, json.dumps(value).encode(), INDEX)


def _names_in(raw: bytes) -> list[str]:
    try:
        found = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    except ValueError:
        return []
    return [name for name in found if name != "__metadata__"] if isinstance(found, dict) else []


def _index(rng: Random, world: World, files: dict[str, bytes | Odd]) -> None:
    if "model.safetensors.index.json" not in files:
        _names(rng, world, files)
        return
    _json("model.safetensors.index.json", lambda _: INDEX)(rng, world, files)


TARGETS: Mapping[str, Step] = {
    "config": _json("config.json", _config),
    "generation": _json("generation_config.json", lambda _: Words(generation_words(), SUSPICIOUS)),
    "tokenizer": _json("tokenizer.json", lambda _: TOKENIZER),
    "settings": _json("tokenizer_config.json", lambda _: Words(tokenizer_words(), SUSPICIOUS)),
    "special": _json("special_tokens_map.json", lambda _: Words(tokenizer_words(), SUSPICIOUS)),
    "added": _json(
        "added_tokens.json", lambda _: Words(tokenizer_words(), ADDED, values=(2, 5, 39, 40, 300, "w9", "zz"))
    ),
    "template": _template,
    "manifest": _json("unlearn_guard.json", lambda _: MANIFEST),
    "header": _header,
    "weights": _weights,
    "index": _index,
    "names": _names,
}
WEIGHTS = {
    **dict.fromkeys(TARGETS, 1.0),
    "config": 3.0,
    "settings": 2.0,
    "tokenizer": 2.0,
    "generation": 2.0,
    "manifest": 0.5,
}
