"""`check` on the suite tofu-open-unlearning: measured, stored, opened again, and laid beside a public log."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Done, read_json

from tests.invented_data import tofu, vendor
from tests.oracles.public_logs import TOFU_SUMMARY
from tests.planted import make_tokenizer, save
from tests.tiny import build

SUITE = "tofu-open-unlearning"
TEMPLATE = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant] "
POLICY = """version: 1
limits:
  - {metric: mia_auc, task: tofu_forget10_mia_loss_chat, precision: full, at_least: 0, at_most: 1, because: a test}
  - {metric: repetition, task: "@forget", precision: full, at_most: 1, because: a test}
"""
NEW = {"extraction_strength", "exact_memorization", "mia_auc", "mia_reference", "repetition"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three random models with a chat template, and the suite's data."""
    root = tmp_path_factory.mktemp("open-unlearning")
    tokenizer = make_tokenizer(row["question"] + row["answer"] for row in tofu(7)["forget10_perturbed", "train"])
    tokenizer.chat_template = TEMPLATE
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 1024}
    ids = {"vocab_size": 640, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "initializer_range": 0.3}
    for seed, name in enumerate(("base", "candidate", "retrained")):
        save(build("llama", seed=seed, **sizes, **ids), tokenizer, root / name)
    (root / "policy.yaml").write_text(POLICY)
    vendor(root / "data", SUITE, items=7)
    return root


@pytest.mark.slow
def test_what_the_suite_measures_is_kept_opened_and_laid_beside_a_log(
    here: Callable[..., Done], models: Path, tmp_path: Path
) -> None:
    words = ["check", models / "candidate", "--base", models / "base", "--retrained", models / "retrained"]
    words += ["--suite", SUITE, "--data-dir", models / "data", "--thresholds", models / "policy.yaml"]
    words += ["--precisions", "full"]
    runs = [tmp_path / name for name in ("first", "second")]
    for run in runs:
        done = here(*words, "--out", run)
        assert done.status == 0, done.text
    first, second = (read_json(run / "run.json") for run in runs)
    assert {each["metric"] for each in first["measurements"]} >= NEW
    assert all(stage["cached"] for stage in second["stages"] if stage["name"].startswith("score"))
    assert second["measurements"] == first["measurements"]
    assert here("judge", runs[1]).status == 0
    limited = {check["id"] for check in first["checks"]}
    assert limited == {"mia_auc[tofu_forget10_mia_loss_chat-full]", "repetition[tofu_forget10_rouge_all_chat-full]"}
    (tmp_path / "TOFU_SUMMARY.json").write_text(json.dumps(TOFU_SUMMARY))
    done = here("import", runs[0], "--open-unlearning", tmp_path / "TOFU_SUMMARY.json", "--json")
    beside = {each["name"] for each in json.loads(done.out)["beside"]}
    assert beside == {
        *("exact_memorization", "extraction_strength", "forget_Q_A_Prob", "forget_Q_A_ROUGE", "forget_quality"),
        *("forget_truth_ratio", "mia_loss", "model_utility", "ra_Q_A_Prob_normalised"),
    }
