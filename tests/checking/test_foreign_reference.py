"""A published AUC belongs to the models that it was measured on."""

from dataclasses import replace

from tests.oracles.made_scores import made_task
from unlearn_guard.checking.foreign_reference import LLAMA_2_7B, foreign_reference
from unlearn_guard.records import Role

LEAK = replace(made_task(4, "leak", Role.PROBE, 0.0, "min_k"), measure="privleak", retrained=0.4772)


def test_another_shape_is_noted_and_named():
    (note,) = foreign_reference([LEAK], {**LLAMA_2_7B, "vocab_size": 128256, "hidden_size": 2048}, retrained=False)
    assert "privleak of leak" in note
    assert "(hidden_size, vocab_size)" in note
    assert "--retrained" in note


def test_that_shape_a_retrained_model_and_no_such_probe_are_not():
    assert not foreign_reference([LEAK], {**LLAMA_2_7B, "rope_theta": 1e4}, retrained=False)
    assert not foreign_reference([LEAK], {}, retrained=True)
    assert not foreign_reference([made_task(4), replace(LEAK, retrained=None)], {}, retrained=False)
