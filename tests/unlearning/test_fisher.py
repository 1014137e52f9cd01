import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.attribution.tiny_models import VOCABULARY, tiny
from tests.oracles import fisher as oracle
from unlearn_guard.errors import UsageError
from unlearn_guard.unlearning.corpora import Text
from unlearn_guard.unlearning.fisher import fisher, quantile
from unlearn_guard.unlearning.tensors import linears, mlps


def texts(count, seed=0):
    """Texts of five to twelve tokens, of which some first ones do not count."""
    rng = torch.Generator().manual_seed(seed)
    drawn = [torch.randint(3, VOCABULARY, (5 + place % 8,), generator=rng).tolist() for place in range(count)]
    return [Text(ids=tuple(ids), start=1 + place % 3) for place, ids in enumerate(drawn)]


def close(found, expected):
    return all(torch.allclose(found[name], each, rtol=1e-3, atol=1e-6 * each.max()) for name, each in expected.items())


@pytest.mark.parametrize("family", ["llama", "gemma2", "phi3"])
def test_equals_the_loop_over_examples(family):
    model = tiny(family)
    names, corpus = linears(model), texts(11)
    found = fisher(model, corpus, names, rows=4)
    assert found.keys() == set(names)
    assert close(found, oracle.fisher(model, corpus, names))


@pytest.mark.parametrize("rows", [1, 3, 11])
def test_does_not_depend_on_batch_or_padding(rows):
    model, corpus = tiny("llama"), texts(11)
    names = mlps(model, {0, 2})
    assert close(fisher(model, corpus, names, rows=rows), fisher(model, corpus, names, rows=5))


def test_the_square_of_a_batch_gradient_is_another_number():
    """What a fast version that forgets to square each example would give."""
    model, corpus = tiny("llama"), texts(4)
    names = mlps(model, {1})
    parameters = dict(model.named_parameters())
    total = {name: torch.zeros_like(parameters[name]) for name in names}
    for text in corpus:
        for name, root in oracle_gradients(model, text, names).items():
            total[name] += root / len(corpus)
    assert not close(fisher(model, corpus, names), {name: each**2 for name, each in total.items()})


def oracle_gradients(model, text, names):
    loss = model(
        input_ids=torch.tensor([text.ids]), labels=torch.tensor([[-100] * text.start + [*text.ids[text.start :]]])
    )
    wanted = [dict(model.named_parameters())[name] for name in names]
    return dict(zip(names, torch.autograd.grad(loss.loss * (len(text.ids) - text.start), wanted), strict=True))


def test_a_number_worked_out_by_hand():
    """Two tokens, one head of zeros: each text's logits are 0, p = 1/V, and dlogp/dW[v] = ([v is target] - 1/V) h."""
    model = tiny("llama", layers=1)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    (text,) = texts(1)
    text = Text(ids=text.ids[:2], start=1)
    h_D = model.model(input_ids=torch.tensor([text.ids[:1]])).last_hidden_state[0, 0].detach()
    found = fisher(model, [text], ["lm_head.weight"])["lm_head.weight"]
    target = text.ids[1]
    assert torch.allclose(found[target], (h_D * (1 - 1 / VOCABULARY)) ** 2, rtol=1e-4)
    assert torch.allclose(found[target - 1], (h_D / VOCABULARY) ** 2, rtol=1e-4)


def test_leaves_the_model_as_it_was():
    model = tiny("llama").train()
    model.model.embed_tokens.weight.requires_grad_(False)
    before = {name: (one.requires_grad, one.detach().clone()) for name, one in model.named_parameters()}
    fisher(model, texts(3), mlps(model, {1}))
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    for name, one in model.named_parameters():
        assert one.requires_grad is before[name][0]
        assert one.grad is None
        assert torch.equal(one, before[name][1])


def test_bf16_is_summed_in_fp32():
    model, corpus = tiny("llama"), texts(40)
    names = mlps(model, {0})
    exact = fisher(model, corpus, names)
    found = fisher(model.to(torch.bfloat16), corpus, names)
    assert all(each.dtype == torch.float32 for each in found.values())
    for name in names:
        assert torch.corrcoef(torch.stack([found[name].sqrt().flatten(), exact[name].sqrt().flatten()]))[0, 1] > 0.99


def test_refuses_what_is_no_linear_weight():
    model = tiny("llama")
    for name in ("model.embed_tokens.weight", "model.layers.0.mlp.up_proj.bias", "nowhere.weight"):
        with pytest.raises(UsageError, match="not the weight of a linear layer"):
            fisher(model, texts(2), [name])
    with pytest.raises(UsageError, match="no weight"):
        fisher(model, texts(2), [])


def test_refuses_a_layer_that_is_used_twice_or_not_at_all():
    model = tiny("llama")
    model.model.layers[1].mlp = model.model.layers[0].mlp
    with pytest.raises(UsageError, match="not used exactly once"):
        fisher(model, texts(2), ["model.layers.0.mlp.up_proj.weight"])
    model = tiny("llama")
    model.spare = nn.Linear(4, 4)
    with pytest.raises(UsageError, match="not used exactly once"):
        fisher(model, texts(2), ["spare.weight"])


@given(st.lists(st.lists(st.floats(0, 2.0**100, width=32), max_size=20), min_size=1, max_size=4), st.floats(0.001, 1))
def test_quantile_equals_sorting(rows, share):
    values = sorted(abs(value) for row in rows for value in row)
    tensors = [torch.tensor(row, dtype=torch.float32).abs() for row in rows]
    if not values:
        with pytest.raises(UsageError):
            quantile(tensors, share)
        return
    assert quantile(tensors, share) == next(v for i, v in enumerate(values, 1) if i >= share * len(values))


def test_the_99th_percentile_leaves_one_in_a_hundred_above_it():
    weights = [torch.rand(300, generator=torch.Generator().manual_seed(1)) * 1e-9, torch.arange(1.0, 701.0)]
    limit = quantile(weights, 0.99)
    assert limit == 690
    assert sum(int((each > limit).sum()) for each in weights) == 10


def test_quantile_refuses_what_has_no_order():
    for wrong in (-1.0, float("nan")):
        with pytest.raises(UsageError, match="negative or no number"):
            quantile([torch.tensor([1.0, wrong])], 0.5)
    with pytest.raises(UsageError, match="does not exist"):
        quantile([torch.tensor([1.0])], 0.0)
