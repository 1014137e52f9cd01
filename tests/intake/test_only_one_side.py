"""Parameters that only one of two checkpoints has, and what is said of pairs that cannot be compared at all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_files import shapes, weights, write
from edited import NORM, candidate, numbers, opened, why_not

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import Intake, assert_reads_alike, compare, difference, open_checkpoint
from unlearn_guard.records import Span, StoredTensor

HEAD = "lm_head.weight"


def deeper() -> dict[str, Any]:
    """The weights of a model that has a third layer."""
    made = weights()
    for name, shape in shapes().items():
        if ".layers.1." in name:
            made[name.replace(".1.", ".2.")] = numbers(np.ones(shape))
    return made


def test_what_only_one_has_is_named_from_both_sides(tmp_path: Path, base: Intake) -> None:
    other = opened(write(tmp_path / "deep", deeper(), config={"num_hidden_layers": 3}))
    name = "model.layers.2.self_attn.q_proj.weight"
    assert f"tensor '{name}': found shape [16, 16]; expected nothing, as in base" in why_not(base, other)
    assert f"tensor '{name}': found nothing; expected base's shape [16, 16]" in why_not(other, base)
    seen = compare(base, other)
    assert (seen.tensors, seen.changed) == (21, (NORM,))
    assert len([each for each in seen.defects if each.where.startswith("tensor ")]) == 9


def test_a_pair_of_which_one_was_not_listed_is_our_own_mistake(base: Intake, tmp_path: Path) -> None:
    bare = open_checkpoint(write(tmp_path / "bare"))
    for pair in ((base, bare), (bare, base), (bare, bare)):
        with pytest.raises(ValueError, match="were not listed"):
            compare(*pair)


def stored(name: str, *spans: tuple[int, int]) -> StoredTensor:
    parts = tuple(Span(file=Path(name), start=start, stop=stop) for start, stop in spans)
    return StoredTensor(name="t", dtype="F32", shape=(2,), spans=parts)


def test_only_whole_tensors_on_disk_are_known_by_their_digests() -> None:
    digests = {(Path("a"), 0, 4): "1", (Path("a"), 4, 8): "2", (Path("b"), 0, 4): "1"}
    whole = stored("a", (0, 4), (4, 8))
    assert difference._known(digests, whole) == [(2,), "1", "2"]
    assert difference._known(digests, stored("a", (0, 4))) == difference._known(digests, stored("b", (0, 4)))
    parts = [stored("a", (0, 4), (4, 6)), stored("b", (0, 4), (4, 6))]
    assert difference._known(digests, parts[0]) != difference._known(digests, parts[1])
    flat = replace(whole, shape=(2, 1))
    assert difference._known(digests, flat) != difference._known(digests, whole)


def test_dtypes_are_counted_pair_by_pair(tmp_path: Path, base: Intake) -> None:
    half = ("F16", (16,), np.full(16, 3.0, np.float16).tobytes())
    wide = ("F64", (16,), np.ones(16, np.float64).tobytes())
    norms = [
        f"model.layers.{layer}.{each}_layernorm.weight" for layer in (0, 1) for each in ("input", "post_attention")
    ]
    other = candidate(tmp_path, {NORM: half, norms[0]: wide, norms[1]: wide})
    assert [note for note in compare(base, other).notes if "tensors are" in note] == [
        "1 tensors are F16, base's are F32",
        "2 tensors are F64, base's are F32",
    ]


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ({"config": {"rms_norm_eps": 0.5}}, "config.json: rms_norm_eps"),
        ({"settings": {"bos_token": "w3"}}, "tokenizer: bos_token_id"),
        ({"config": {"num_beams": 4}}, "generation_config.json: num_beams"),
    ],
)
def test_an_artifact_is_held_against_base_in_all_three(
    tmp_path: Path, base: Intake, documents: dict[str, Any], said: str
) -> None:
    artifact = open_checkpoint(write(tmp_path / "artifact", **documents))
    with pytest.raises(CheckpointError, match="computes, reads or ends texts otherwise than base") as caught:
        assert_reads_alike(base, artifact)
    assert said in str(caught.value)


def test_an_artifact_that_reads_alike_has_notes_of_all_three(tmp_path: Path, base: Intake) -> None:
    artifact = write(tmp_path / "artifact", config={"anything": 1, "temperature": 0.5}, settings={"pad_token": "<unk>"})
    notes = " ".join(assert_reads_alike(base, open_checkpoint(artifact)))
    for part in ("'anything'", "padded with '<unk>'", "'temperature'"):
        assert part in notes
    assert assert_reads_alike(base, base) == ()
