import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from unlearn_guard.organism import base_path, candidates


@pytest.fixture(scope="session")
def words():
    return AutoTokenizer.from_pretrained(base_path())


@pytest.fixture(scope="session")
def base_model():
    model = AutoModelForCausalLM.from_pretrained(base_path(), dtype=torch.float32, attn_implementation="eager")
    return model.eval()


@pytest.fixture(scope="session")
def candidate(tmp_path_factory):
    """Builds each candidate once a session."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = candidates.build(name, tmp_path_factory.mktemp("organism") / name)
        return made[name]

    return get
