"""Two configs compared by what transformers computes with them, not by how they are spelt.

Trainers set ids of special tokens, tools add keys of their own, releases rename keys and fill in defaults, `0` is
written for `0.0`: none of that changes an answer. Rope frequencies, windows, multipliers and activations do.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from unlearn_guard.errors import Defect
from unlearn_guard.intake.blueprint import Blueprint, blueprint
from unlearn_guard.intake.config import HISTORY
from unlearn_guard.intake.defects import listed, shown
from unlearn_guard.intake.intake import Intake
from unlearn_guard.intake.named_keys import is_read

NOT_SHAPING = frozenset(
    {
        *HISTORY,
        *("transformers_version", "architectures", "dtype", "torch_dtype", "id2label", "label2id", "problem_type"),
        *("_attn_implementation", "_experts_implementation", "_num_labels", "quantization_config", "num_labels"),
        *("auto_map", "compression_config", "use_cache", "output_attentions", "output_hidden_states", "return_dict"),
        *("attention_dropout", "hidden_dropout", "hidden_dropout_prob", "embd_pdrop", "resid_pdrop", "attn_pdrop"),
        *("dropout", "activation_dropout", "layerdrop", "residual_dropout", "embedding_dropout", "classifier_dropout"),
        *("initializer_range", "initializer_factor", "router_aux_loss_coef", "router_jitter_noise"),
        *("output_router_logits", "aux_loss_alpha", "seq_aux", "gradient_checkpointing", "pretraining_tp"),
        *("chunk_size_feed_forward", "tokenizer_class"),
    }
)
"""Keys of config.json that shape no weight and no answer of a causal model in evaluation, beyond rounding."""

_TOKEN_IDS = re.compile(r"(bos|eos|pad|sep|unk|cls|mask|decoder_start|forced_bos|forced_eos)_token_id")
"""Ids of special tokens. Which of them counts when text is read or written is the tokenizer's and the generation
config's to say, and both are compared."""

_ROPE = frozenset({"rope_parameters", "rope_theta", "rope_scaling", "rope_type", "rope_local_base_freq"}) | frozenset(
    {"partial_rotary_factor", "rotary_pct", "rotary_emb_base", "original_max_position_embeddings"}
)
_TURNING = _ROPE | frozenset(
    {
        *("type", "factor", "low_freq_factor", "high_freq_factor", "attention_factor", "beta_fast", "beta_slow"),
        *("short_factor", "long_factor", "truncate", "max_position_embeddings"),
    }
)
"""Settings of rope that the rotary embedding reads and nothing else."""

_STATIC_ROPE = ("default", "linear", "llama3", "yarn", "proportional")
_ACTIVATION = re.compile(r"(hidden_act|hidden_activation|activation_function|activation|mlp_hidden_act)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaf:
    """One value of a loaded config, and whether its class declares the key."""

    value: Any
    declared: bool


def compare_configs(base: Intake, candidate: Intake) -> tuple[list[Defect], list[str]]:
    """What differs in what is computed, as defects; and a note that names what differs and shapes nothing."""
    if base.config == candidate.config:
        return [], []
    kinds = base.config.get("model_type"), candidate.config.get("model_type")
    if kinds[0] != kinds[1]:
        found, expected = shown(kinds[1]), f"base's {shown(kinds[0])}"
        return [Defect(where="config.json: model_type", found=found, expected=expected)], []
    plans = blueprint(base.checkpoint.path), blueprint(candidate.checkpoint.path)
    ours, theirs = (dict(_leaves(plan.model.config, "config.json")) for plan in plans)
    defects, harmless = [], []
    for where in sorted(set(ours) | set(theirs)):
        left, right = ours.get(where), theirs.get(where)
        if left is not None and right is not None and same_number(left.value, right.value):
            continue
        if where.rpartition(": ")[2] in HISTORY:
            continue
        if _harmless(where.rpartition(": ")[2], left, right, plans):
            harmless.append(where.removeprefix("config.json: "))
        else:
            found = "nothing" if right is None else shown(right.value)
            expected = f"base's {'nothing' if left is None else shown(left.value)}"
            defects.append(Defect(where=where, found=found, expected=expected))
    notes = [f"config.json differs from base's in what shapes no answer: {listed(harmless, 20)}"] if harmless else []
    return defects, notes


def _harmless(key: str, left: _Leaf | None, right: _Leaf | None, plans: tuple[Blueprint, Blueprint]) -> bool:
    if key in NOT_SHAPING:
        return True
    if _TOKEN_IDS.fullmatch(key):
        return right is None or _token_ids(right.value)
    if key in _ROPE:
        spelt = [_spelt(leaf.value) if leaf is not None else None for leaf in (left, right)]
        told = all(leaf is None or _turns_only(leaf.value) for leaf in (left, right))
        return (told and _same_rope(*plans)) or (None not in spelt and same_number(*spelt))
    if key == "max_position_embeddings" and left is not None and right is not None:
        longer = all(type(leaf.value) is int for leaf in (left, right)) and right.value > left.value
        return longer and _same_rope(*plans)  # more room, the same angles: nothing else is made of this number
    if key == "max_window_layers":
        return all(getattr(plan.model.config, "layer_types", None) for plan in plans)  # which is what it is spent on
    if _ACTIVATION.fullmatch(key) and left is not None and right is not None:
        return _same_activation(left.value, right.value)
    if any(leaf is not None and leaf.declared for leaf in (left, right)):
        return False
    return right is None or not is_read(key, right.value, plans[1].model)


def _token_ids(value: Any) -> bool:
    """Whether code that compares token ids with this, or looks for one in it, can."""
    each = value if isinstance(value, list) else [] if value is None else [value]
    return all(type(number) is int and abs(number) < 2**31 for number in each)


def _leaves(config: Any, path: str) -> Iterator[tuple[str, _Leaf]]:
    """Every value of a loaded config by its path, configs inside it included."""
    declared = _declared(type(config))
    for key, value in config.to_dict().items():
        inner = getattr(config, key, None)
        if isinstance(value, Mapping) and hasattr(inner, "to_dict") and hasattr(inner, "model_type"):
            yield from _leaves(inner, f"{path}: {key}")
        else:
            yield f"{path}: {key}", _Leaf(value=value, declared=key in declared)


def _declared(kind: type) -> set[str]:
    names = {each.name for each in fields(kind)} if is_dataclass(kind) else set()
    for each in kind.__mro__:
        names |= set(getattr(each, "__annotations__", ()))
    mapped: Mapping[str, str] = getattr(kind, "attribute_map", {})
    return names | set(mapped) | set(mapped.values())


def same_number(left: Any, right: Any) -> bool:
    """Whether two JSON values are the same, 0 and 0.0 included and 1 and true not."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return {*left} == {*right} and all(same_number(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same_number, left, right))
    return bool(left == right)


def _same_rope(base: Blueprint, candidate: Blueprint) -> bool:
    """Whether every rotary embedding of the two models turns by the same angles, at every length."""
    ours, theirs = _rotaries(base.model), _rotaries(candidate.model)
    return bool(ours) and ours.keys() == theirs.keys() and all(_same_rotary(ours[name], theirs[name]) for name in ours)


def _turns_only(value: Any) -> bool:
    """Whether these settings act in the rotary embedding alone, which is compared: some scale the attention too."""
    if not isinstance(value, Mapping):
        return True
    return all(_turns_only(each) if isinstance(each, Mapping) else key in _TURNING for key, each in value.items())


def _spelt(value: Any) -> Any:
    """Rope parameters without the older name of a key that stands beside the newer one."""
    if not isinstance(value, Mapping):
        return value
    found = {key: _spelt(each) for key, each in value.items()}
    if found.get("type") == found.get("rope_type", ""):
        del found["type"]
    return found


def _rotaries(model: Any) -> dict[str, Any]:
    return {
        name: module
        for name, module in model.named_modules()
        if any("inv_freq" in buffer for buffer, _ in module.named_buffers(recurse=False))
    }


def _same_rotary(left: Any, right: Any) -> bool:
    import torch

    try:
        with torch.device("cpu"):
            made = type(left)(config=left.config), type(right)(config=right.config)
    except (TypeError, ValueError, KeyError, AttributeError):
        return False  # a rotary embedding that cannot be made anew cannot be compared
    kinds = [getattr(each, "rope_type", "default") for each in made]
    kinds = [kind for each in kinds for kind in (each.values() if isinstance(each, Mapping) else [each])]
    if any(kind not in _STATIC_ROPE for kind in kinds):
        return False  # its angles depend on the length of the text
    buffers = [dict(each.named_buffers()) for each in made]
    scales = [{key: value for key, value in vars(each).items() if "attention_scaling" in key} for each in made]
    alike = buffers[0].keys() == buffers[1].keys() and scales[0] == scales[1]
    return alike and all(torch.equal(buffers[0][name], buffers[1][name]) for name in buffers[0])


def _same_activation(left: Any, right: Any) -> bool:
    """Whether two names stand for one function, as `silu` and `swish` do."""
    import torch
    from transformers.activations import ACT2FN

    if not (isinstance(left, str) and isinstance(right, str) and left in ACT2FN and right in ACT2FN):
        return False
    inputs = torch.linspace(-12, 12, 4097)
    return torch.allclose(ACT2FN[left](inputs), ACT2FN[right](inputs), rtol=0, atol=1e-5)
