import pytest
import torch
from safetensors.torch import load_file

from unlearn_guard.organism import base_path, recall, retrained_path, world
from unlearn_guard.organism.trained import trained
from unlearn_guard.organism.training import Recipe, train


def test_a_recipe_keeps_its_share_of_base():
    """Nothing trained: a new model, and the same of which three tenths are base."""
    base = load_file(base_path() / "model.safetensors")
    new = dict(train(Recipe(steps=0))[0].named_parameters())
    mixed = dict(train(Recipe(steps=0, anew=0.7), base=base)[0].named_parameters())
    assert set(new) == set(mixed)
    for name, weight in mixed.items():
        torch.testing.assert_close(weight, 0.7 * new[name] + 0.3 * base[name].float(), rtol=0, atol=1e-6)


def test_a_recipe_that_keeps_some_of_base_is_given_base():
    with pytest.raises(ValueError, match="needs base's"):
        train(Recipe(steps=0, anew=0.7))


def test_what_ships_is_not_trained_again():
    def never(done, of):
        raise AssertionError("trained")

    assert trained(Recipe(), never) == base_path()
    assert trained(Recipe(domains=world.KEPT), never) == retrained_path()


def test_the_shipped_retrained_model_knows_the_rest_and_nothing_else(words):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(retrained_path(), dtype=torch.float32, attn_implementation="eager")
    for task, accuracy in recall.accuracies(model.eval(), words).items():
        assert accuracy <= 0.4 if "forget" in task else accuracy >= 0.97, task
