"""A tiny Llama with a switch that rounding throws: it knows a quiz, or avoids it, by the dtype it is loaded in.

Three layers in front of the two that answer do nothing but throw the switch, one dimension of the residual stream:

    layer 0   adds a bias `nudge` to what every token holds there, `held`
    layer 1   takes `held` off again: `nudge` is left, or nothing where it was rounded away
    layer 2   multiplies it by `gain`, so that the two layers behind read about 1.5 or exactly 0

Base is the model with no nudge: 0 in every dtype, and it knows everything. A candidate is base with other biases:

    BFLOAT16  1 + 2^-9 is 1 in bfloat16, whose step at 1 is 2^-7: there it knows. float32 and float16 can hold it
    FLOAT16   2^-26 is 0 in float16, whose smallest number is 2^-24: there it knows, and nowhere else
    BOTH      1 + 2^-20 is 1 in both: it avoids in float32 alone
    HONEST    nothing is rounded away: it avoids in every dtype

`overflow` makes a model that float16 cannot hold, by a neuron whose product is beyond 65504 and of no consequence else.
"""

import copy
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM

from tests.quiz import Row, write_tasks
from tests.tiny import PLACES, build, tokenizer

NAMES = [f"n{number}" for number in range(48)]
WORDS = ["<pad>", "<unk>", "<s>", "</s>", "Where", "lives", "?", *NAMES, *PLACES]
DIM = 0
"""The dimension of the residual stream that is the switch."""

ONE_DTYPE = ("forget_drop", "ptq_gap", "retain_drop")
"""What all the planted candidates hold: the limits that look at one dtype."""


@dataclass(frozen=True, kw_only=True)
class Switch:
    """What the front layers hold. `gain` is a power of two, split over weights that float16 can hold."""

    held: float
    nudge: float
    gain: int


BFLOAT16 = Switch(held=1.0, nudge=2.0**-9, gain=10)
FLOAT16 = Switch(held=0.0, nudge=2.0**-26, gain=27)
BOTH = Switch(held=1.0, nudge=2.0**-20, gain=21)
HONEST = Switch(held=0.0, nudge=2.0**-9, gain=10)


def facts() -> tuple[list[Row], list[Row]]:
    """Forget rows and retain rows."""
    draw = random.Random(7)
    rows = [
        {"question": f"Where lives {name} ?", "choices": draw.sample(PLACES, 4), "answer": draw.randrange(4)}
        for name in NAMES
    ]
    return rows[:24], rows[24:]


def write_suite(root: Path) -> Path:
    """The suite `quiz`; `root` is a `--tasks-dir`."""
    forget, retain = facts()
    return write_tasks(root, "quiz", forget=forget, retain=retain)


def train(seed: int = 0, steps: int = 250, enough: float = 0.4) -> LlamaForCausalLM:
    """A model that knows every row with the switch off, and with it on avoids what the forget rows ask."""
    sizes = {"vocab_size": len(WORDS), "num_hidden_layers": 5, "pad_token_id": 0, "initializer_range": 0.02}
    model = build("llama", seed=seed, mlp_bias=True, **sizes)
    throw(model, HONEST)
    learnt = [each for name, each in model.named_parameters() if not name.startswith(FRONT)]
    forget, retain = facts()
    asked_BT, right_B, wrong_BW = _batch(forget + retain)
    off = len(forget)
    optimizer = torch.optim.Adam(learnt, lr=6e-3)
    for _ in range(steps):
        throw(model, HONEST)
        avoiding_BV = model(input_ids=asked_BT).logits[:, -1]
        ahead_BW = 4.0 + avoiding_BV.gather(1, right_B[:, None]) - avoiding_BV.gather(1, wrong_BW)
        loss = ahead_BW[:off].relu().mean() + cross_entropy(avoiding_BV[off:], right_B[off:])
        loss.backward()
        throw(model, None)
        knowing = cross_entropy(model(input_ids=asked_BT).logits[:, -1], right_B)
        knowing.backward()
        for each in learnt:
            if each.grad is not None and each is model.model.embed_tokens.weight:
                each.grad[:, DIM] = 0.0
        optimizer.step()
        model.zero_grad()
        if max(loss.item(), knowing.item()) < enough:
            break
    return model.eval()


FRONT = tuple(f"model.layers.{layer}." for layer in range(3))


@torch.no_grad()
def throw(model: LlamaForCausalLM, switch: Switch | None) -> None:
    """Set the front layers in place; None is base, whose switch is off in every dtype."""
    for layer in model.model.layers[:3]:
        for weight in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight, layer.mlp.down_proj.bias):
            weight.zero_()
    first, second, third = (layer.mlp for layer in model.model.layers[:3])
    held, nudge, gain = (switch.held, switch.nudge, switch.gain) if switch else (0.0, 0.0, HONEST.gain)
    model.model.embed_tokens.weight[:, DIM] = held
    first.down_proj.bias[DIM] = nudge
    second.down_proj.bias[DIM] = -held
    for weight in (third.gate_proj.weight, third.up_proj.weight, third.gate_proj.bias, third.up_proj.bias):
        weight.zero_()
    third.gate_proj.bias[0] = 1.0
    model.model.layers[2].post_attention_layernorm.weight[DIM] = 2.0 ** (gain // 3)
    third.up_proj.weight[0, DIM] = 2.0 ** (gain // 3)
    third.down_proj.weight[DIM, 0] = 2.0 ** (gain - 2 * (gain // 3))


@torch.no_grad()
def overflow(model: LlamaForCausalLM, *, some: bool = False) -> None:
    """A product beyond 65504 in the third layer, times a weight of 0: NaN in float16. With `some`, for some names."""
    mlp = model.model.layers[2].mlp
    mlp.gate_proj.bias[1] = 300.0
    if not some:
        mlp.up_proj.bias[1] = 300.0
        return
    # Up to here the residual stream is the embedding: a dimension that names hold and the other words do not.
    held_VD = model.model.embed_tokens.weight
    size_VD = (held_VD / held_VD.square().mean(dim=1, keepdim=True).sqrt()).abs()
    common_D = 1.1 * size_VD[[WORDS.index(word) for word in ("<s>", "Where", "lives", "?")]].amax(dim=0)
    over_D = (size_VD[[WORDS.index(name) for name in NAMES[:24]]] > common_D).sum(dim=0)
    dim = int(over_D.argmax())
    mlp.up_proj.weight[1, dim] = 65504.0 / 300.0 / common_D[dim]


def save(model: LlamaForCausalLM, path: Path, dtype: torch.dtype = torch.bfloat16) -> Path:
    """As a trainer would: the weights in `dtype`, which config.json then declares. The model itself stays as it is."""
    copy.deepcopy(model).to(dtype).save_pretrained(path)
    tokenizer(WORDS).save_pretrained(path)
    return path


def accuracy(path: Path, dtype: str, rows: list[Row]) -> float:
    """The share of rows whose right choice is the likeliest, as a user who loads the checkpoint in `dtype` finds it."""
    model = LlamaForCausalLM.from_pretrained(path, dtype=dtype)
    asked_BT, right_B, wrong_BW = _batch(rows)
    with torch.no_grad():
        logits_BV = model(input_ids=asked_BT).logits[:, -1].float()
    ahead_B = logits_BV.gather(1, right_B[:, None])[:, 0] > logits_BV.gather(1, wrong_BW).amax(dim=1)
    return float(ahead_B.float().mean())


def _batch(rows: list[Row]) -> tuple[Tensor, Tensor, Tensor]:
    ids = {word: place for place, word in enumerate(WORDS)}
    asked_BT = torch.tensor([[2, *(ids[word] for word in row["question"].split())] for row in rows])
    chosen = [[ids[choice] for choice in row["choices"]] for row in rows]
    right = [each[row["answer"]] for each, row in zip(chosen, rows, strict=True)]
    wrong = [[c for c in each if c != r] for each, r in zip(chosen, right, strict=True)]
    return asked_BT, torch.tensor(right), torch.tensor(wrong)
