"""Which tensors are meant, on every supported family."""

import pytest

from tests.attribution.tiny_models import FAMILIES, tiny
from tests.unlearning.small import llama
from unlearn_guard.errors import UsageError
from unlearn_guard.unlearning import tensors


@pytest.mark.parametrize(
    ("layer", "of", "depth", "expected"),
    [(7, 32, 32, 7), (14, 32, 32, 14), (31, 32, 32, 31), (0, 32, 3, 0), (14, 32, 3, 1), (16, 32, 3, 1), (31, 32, 3, 2),
     (22, 32, 6, 4), (7, 32, 6, 1), (5, 32, 6, 1), (0, 32, 64, 1)],
)  # fmt: skip
def test_the_layer_as_deep(layer, of, depth, expected):
    """The middle of layer l of 32 lies at (l + 1/2) / 32 of the depth: 22 of 32 at .703, layer 4.2 of 6."""
    assert tensors.scaled(layer, of, llama(layers=depth, hidden_size=8, intermediate_size=4)) == expected


@pytest.mark.parametrize(("count", "depth", "expected"), [(5, 32, 5), (5, 6, 1), (5, 1, 1), (5, 16, 2), (5, 10, 2)])
def test_the_share_of_layers(count, depth, expected):
    assert tensors.share(count, 32, llama(layers=depth, hidden_size=8, intermediate_size=4)) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_names_on_every_family(family):
    model = tiny(family)
    assert tensors.depth(model) == 3
    assert set(tensors.every(model)) == {name for name, _ in model.named_parameters()}
    assert tensors.downs(model, {0, 2}) == tuple(f"model.layers.{layer}.mlp.down_proj.weight" for layer in (0, 2))
    assert tensors.layer_name(model, 1) == "model.layers.1"
    assert not any("layernorm" in name or "embed" in name or "lm_head" in name for name in tensors.linears(model))
    assert set(tensors.mlps(model, {1})) < set(tensors.in_layers(model, {1}))
    assert {tensors.layer_of(name) for name in tensors.in_layers(model, {1})} == {1}


@pytest.mark.parametrize("tied", [False, True])
def test_the_end_of_a_model(tied):
    """Last layers, final norm and head; embeddings only where they are the head."""
    model = llama(tie_word_embeddings=tied)
    found = set(tensors.at_end(model, 1))
    head = {"model.embed_tokens.weight"} if tied else {"lm_head.weight"}
    assert found == {*tensors.in_layers(model, {2}), "model.norm.weight", *head}


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="layers 0 to 2, not 3"):
        tensors.layer_name(llama(), 3)
    with pytest.raises(UsageError, match=r"no mlp\.down_proj"):
        tensors.downs(llama(), {3})
    assert tensors.layer_of("model.norm.weight") is None
