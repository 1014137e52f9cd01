"""generation_config.json against base's: what decides where and how a deployed model's answers end.

The guard writes answers by base's end ids and by nothing else of a checkpoint. A candidate whose own settings would
shorten or bend what its weights say is not the model that was scored, so such a difference is a defect.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearn_guard.errors import Defect
from unlearn_guard.intake.blueprint import config_errors
from unlearn_guard.intake.computed import same_number
from unlearn_guard.intake.defects import listed, refusal, shown
from unlearn_guard.intake.deployed import open_tokenizer
from unlearn_guard.intake.intake import Intake

FILE = "generation_config.json"

USUAL: Mapping[str, tuple[Any, ...]] = {
    "bad_words_ids": ([],),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "force_words_ids": ([],),
    "constraints": ([],),
    "sequence_bias": ([], {}),
    "stop_strings": ([],),
    "repetition_penalty": (1.0,),
    "encoder_repetition_penalty": (1.0,),
    "length_penalty": (1.0,),
    "diversity_penalty": (0.0,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "guidance_scale": (1.0,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "penalty_alpha": (0.0,),
    "typical_p": (1.0,),
    "cache_implementation": (
        *("dynamic", "dynamic_full", "offloaded", "static", "offloaded_static", "hybrid", "hybrid_chunked"),
        *("offloaded_hybrid", "offloaded_hybrid_chunked", "sliding_window"),
    ),
    "early_stopping": (False,),
    "remove_invalid_values": (False,),
    "renormalize_logits": (False,),
    "token_healing": (False,),
    "use_mtp": (False,),
}
"""Values of keys that bend an answer, other than null, with which they bend none.

`typical_p` is the one way of sampling that throws away the likeliest token, and so can make a rarer one certain; a
`quantized` cache computes with rounded keys and values.
"""

HARMLESS = frozenset(
    {
        *("do_sample", "temperature", "top_k", "top_p", "min_p", "top_h", "epsilon_cutoff", "eta_cutoff"),
        *("pad_token_id", "bos_token_id", "decoder_start_token_id", "num_return_sequences", "use_cache"),
        *("cache_config", "max_cache_len", "output_attentions", "output_hidden_states"),
        *("output_scores", "output_logits", "return_dict_in_generate", "compile_config", "disable_compile"),
        *("continuous_batching_config", "low_memory", "prefill_chunk_size", "transformers_version", "eos_token_id"),
        *("is_assistant", "num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold"),
        *("prompt_lookup_num_tokens", "max_matching_ngram_size", "assistant_early_exit", "assistant_lookbehind"),
        *("target_lookbehind", "assistant_ensemble_weight", "speculation_type", "_from_model_config"),
    }
)
"""Keys that say how tokens are drawn, batched, cached or guessed ahead, not which greedy answer there is."""

FLAGS = frozenset(
    {
        *("do_sample", "use_cache", "output_attentions", "output_hidden_states", "output_scores", "output_logits"),
        *("return_dict_in_generate", "disable_compile", "low_memory", "is_assistant"),
    }
)
"""Harmless as true or false alone: with `use_cache` 0 transformers feeds one token at a time and keeps no cache."""

LENGTHS = {"max_length": 512, "max_new_tokens": 256}
"""Tokens from which a bound on a text, or on its answer, shortens no answer that a suite asks for (lm-eval's own
default is 256 new ones). Trainers write the length they trained at, however long base's texts may be."""


def compare_generation(base: Intake, candidate: Intake) -> tuple[list[Defect], list[str]]:
    """Defects where the candidate's own generation would end or bend answers otherwise than base's; the rest a note.

    Where there is no generation_config.json transformers takes the settings from config.json, and so does this.
    """
    from transformers import GenerationConfig

    ours, theirs = _settings(base), _settings(candidate)
    defects = []
    ends = _ids(ours.get("eos_token_id")), _ids(theirs.get("eos_token_id"))
    told = _told_end(base, candidate) if ends[0] < ends[1] else set()
    if ends[0] != ends[1] and ends[1] != ends[0] | told:
        fix = "Copy base's generation_config.json: it decides where answers end."
        found, expected = f"end ids {sorted(ends[1])}", f"base's {sorted(ends[0])}"
        defects.append(Defect(where=f"{FILE}: eos_token_id", found=found, expected=expected, fix=fix))
    known = set(GenerationConfig().to_dict())
    differ = [key for key in sorted(set(ours) | set(theirs)) if not same_number(ours.get(key), theirs.get(key))]
    bending = [key for key in differ if key in known and _bends(key, ours.get(key), theirs.get(key))]
    fix = "Copy base's generation_config.json: this key shortens or bends what a deployed model writes."
    defects += [
        Defect(where=f"{FILE}: {key}", found=shown(theirs[key]), expected=f"base's {shown(ours.get(key))}", fix=fix)
        for key in bending
    ]
    rest = [key for key in differ if key not in (*bending, "transformers_version", "_from_model_config")]
    notes = [f"{FILE} differs from base's in what the guard does not use: {listed(rest, 20)}"] if rest else []
    if told and not defects:
        notes.append(f"{FILE} ends texts at the tokenizer's own end, too ({sorted(told)}), as the guard does for base")
    return defects, notes


def _told_end(base: Intake, candidate: Intake) -> set[int]:
    """The end id of the tokenizer that both have: a trainer adds it, and the guard ends base's answers there, too."""
    found = [open_tokenizer(each.checkpoint.path).eos_token_id for each in (base, candidate)]
    return {found[0]} if found[0] == found[1] and found[0] is not None else set()


def padding_ids(base: Intake, candidate: Intake) -> frozenset[int]:
    """The padding id by which the candidate's `generate` makes a mask where a caller gives none, if base's does not.

    An id that ends a text as well makes no mask.
    """
    ours, theirs = _settings(base), _settings(candidate)
    pad = theirs.get("pad_token_id")
    if not isinstance(pad, int) or pad == ours.get("pad_token_id") or pad in _ids(theirs.get("eos_token_id")):
        return frozenset()
    return frozenset({pad})


def _bends(key: str, ours: Any, theirs: Any) -> bool:
    """Whether the candidate's value changes a greedy answer, or its length, from what base's leaves it."""
    harmless = isinstance(theirs, bool) if key in FLAGS else key in HARMLESS
    if theirs is None or harmless:
        return False
    if key in LENGTHS:
        enough = min(ours, LENGTHS[key]) if isinstance(ours, int) else LENGTHS[key]
        return not isinstance(theirs, int) or theirs < enough
    return not any(same_number(theirs, each) for each in USUAL.get(key, ()))


def _ids(value: Any) -> set[int]:
    return set() if value is None else {value} if isinstance(value, int) else set(value)


def _settings(intake: Intake) -> dict[str, Any]:
    """The generation config that transformers loads, as far as it is not the default. Raises CheckpointError."""
    from transformers import GenerationConfig

    directory = Path(intake.checkpoint.path)
    try:
        if (directory / FILE).is_file():
            loaded = GenerationConfig.from_pretrained(directory, local_files_only=True)
        else:
            # Not of the loaded config, which has lost its generation settings: a model is given those of the file.
            loaded = GenerationConfig.from_pretrained(
                directory, config_file_name="config.json", _from_model_config=True, local_files_only=True
            )
        found: dict[str, Any] = loaded.to_diff_dict()
    except config_errors() as error:
        raise refusal(
            FILE, f"settings that transformers refuses ({shown(str(error))})", "a generation config"
        ) from error
    ends = loaded.eos_token_id
    if not all(type(each) is int for each in (ends if isinstance(ends, list) else [ends] if ends is not None else [])):
        raise refusal(f"{FILE}: eos_token_id", shown(ends), "a token id, or a list of them")
    return {**found, "eos_token_id": ends}
