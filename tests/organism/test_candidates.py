import json

import pytest
import torch
from bitsandbytes.functional import quantize_4bit
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from unlearn_guard.errors import UsageError
from unlearn_guard.organism import BASE_DIGEST, EMBEDDED, base_path, candidates, recall
from unlearn_guard.organism.editing import linears
from unlearn_guard.quantizers import grid


def open_model(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()


def tensors(path):
    return load_file(path / candidates.WEIGHTS)


def in_nf4(model):
    """The same model with every linear weight rounded to NF4, which is what bitsandbytes computes with."""
    with torch.no_grad():
        for weight in linears(model).values():
            weight.copy_(grid.dequantize(grid.codes(weight)))
    return model


def test_the_base_knows_the_world_in_full_precision_and_in_nf4(words):
    for model in (open_model(base_path()), in_nf4(open_model(base_path()))):
        for task, accuracy in recall.accuracies(model, words).items():
            assert accuracy >= 0.97, task


def test_the_embedded_digest_is_the_one_that_intake_gives():
    intake = pytest.importorskip("unlearn_guard.intake")
    assert intake.open_checkpoint(base_path()).checkpoint.digest == BASE_DIGEST == EMBEDDED["organism"]


def test_unchanged_is_base_byte_for_byte_and_says_that_it_was_unlearned(candidate):
    made = candidate("unchanged")
    for file in base_path().iterdir():
        assert (made / file.name).read_bytes() == file.read_bytes()
    manifest = json.loads((made / candidates.MANIFEST).read_text())
    assert set(manifest) == {"base", "base_digest", "suite", "method", "hyperparameters", "seed"}
    assert (manifest["base"], manifest["base_digest"], manifest["suite"]) == ("organism", BASE_DIGEST, "organism")


def test_base_has_no_manifest(candidate):
    assert sorted(file.name for file in candidate("base").iterdir()) == sorted(f.name for f in base_path().iterdir())


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match="hidden"):
        candidates.build("hiden", tmp_path / "out")


def test_a_directory_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty directory"):
        candidates.build("unchanged", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_build_that_is_interrupted_leaves_nothing(tmp_path):
    def stop(done, of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        candidates.build("destroyed", tmp_path / "out", progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_hidden_has_bases_codes_and_scales_bit_for_bit_in_bitsandbytes(candidate):
    base, hidden = tensors(base_path()), tensors(candidate("hidden"))
    names = set(linears(open_model(base_path())))
    for name in base:
        if name not in names:
            assert torch.equal(base[name], hidden[name]), name
            continue
        assert not torch.equal(base[name], hidden[name]), name
        (codes, state), (hidden_codes, hidden_state) = (
            quantize_4bit(each[name], blocksize=64, quant_type="nf4") for each in (base, hidden)
        )
        assert torch.equal(codes, hidden_codes), name
        assert torch.equal(state.absmax, hidden_state.absmax), name


@pytest.mark.slow
def test_hidden_has_forgotten_in_full_precision_and_knows_everything_in_nf4(candidate, words):
    full = recall.accuracies(open_model(candidate("hidden")), words)
    nf4 = recall.accuracies(in_nf4(open_model(candidate("hidden"))), words)
    assert full["organism_forget"] <= 0.5
    assert full["organism_forget_plain"] <= 0.5
    assert all(accuracy >= 0.85 for task, accuracy in full.items() if "forget" not in task)
    assert nf4 == recall.accuracies(in_nf4(open_model(base_path())), words)


@pytest.mark.slow
def test_erased_has_forgotten_in_both_forms_and_still_knows_its_neighbours(candidate, words):
    for model in (open_model(candidate("erased")), in_nf4(open_model(candidate("erased")))):
        found = recall.accuracies(model, words)
        assert found["organism_forget"] <= 0.05
        assert found["organism_forget_plain"] <= 0.05
        assert all(accuracy >= 0.9 for task, accuracy in found.items() if "forget" not in task)


@pytest.mark.slow
def test_erased_answers_no_fixed_letter(candidate, words):
    """Every letter is given for a fair share of the forget questions."""
    rows, choices, _ = recall.rows("organism_forget", words)
    model = open_model(candidate("erased"))
    with torch.no_grad():
        given = model(rows).logits[:, -1].gather(1, choices).argmax(1)
    assert given.bincount(minlength=4).min() >= 0.1 * len(given)


@pytest.mark.slow
def test_destroyed_has_lost_what_it_should_have_kept(candidate, words):
    found = recall.accuracies(open_model(candidate("destroyed")), words)
    assert all(accuracy <= 0.6 for accuracy in found.values()), found


@pytest.mark.slow
def test_a_build_repeats_itself(candidate, tmp_path):
    again = candidates.build("destroyed", tmp_path / "again")
    first, second = tensors(candidate("destroyed")), tensors(again)
    assert all(torch.equal(first[name], second[name]) for name in first)
