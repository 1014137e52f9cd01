"""A small Llama with grouped heads, and texts in its vocabulary."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.tiny import build
from unlearn_guard.quantizers.protocol import Calibration, Placement
from unlearn_guard.records import Checkpoint

VOCABULARY = 200


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    path = tmp_path_factory.mktemp("source")
    model = build("llama", vocab_size=VOCABULARY, hidden_size=128, intermediate_size=256)
    model.to(torch.bfloat16).save_pretrained(path)
    words = {"<unk>": 0} | {f"w{number}": number for number in range(1, VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<unk>").save_pretrained(path)
    return Checkpoint(path=path, digest="0" * 64)


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(1, VOCABULARY, (64, 24), generator=generator).tolist()
    return Calibration(texts=tuple(" ".join(f"w{word}" for word in row) for row in rows))


@pytest.fixture(scope="session")
def placement() -> Placement:
    return Placement(device_map="cpu", dtype=torch.float32)


@pytest.fixture(scope="session")
def prompts() -> torch.Tensor:
    return torch.randint(1, VOCABULARY, (8, 12), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"
