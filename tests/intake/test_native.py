"""What the installed transformers is asked about a config: wherever in it a model is named."""

from typing import Any

import pytest

from unlearn_guard.intake.native import _defaults, has_vocabulary, implements, private_keys

KEY = "_sliding_window_pattern"  # Gemma 3's own
GEMMA = {"model_type": "gemma3_text"}


@pytest.mark.parametrize(
    "document",
    [
        GEMMA,
        {"model_type": "llama", "a": GEMMA, "z": [1]},
        {"a": [GEMMA, 1], "z": {"b": 1}},
        {"a": GEMMA, "z": [[{"model_type": "llama"}]]},
        {"model_type": 5, "a": {"model_type": None, "b": GEMMA}},
    ],
)
def test_a_model_that_is_named_anywhere_is_asked(document: dict[str, Any]) -> None:
    assert KEY in private_keys(document)


@pytest.mark.parametrize(
    "document", [{}, {"model_type": "llama"}, {"model_type": "no_such_model"}, {"a": "gemma3_text"}]
)
def test_a_model_that_is_not_named_is_not_asked(document: dict[str, Any]) -> None:
    assert KEY not in private_keys(document)


def test_keys_are_private_and_no_config_s_in_general() -> None:
    assert all(key.startswith("_") for key in private_keys(GEMMA))
    assert not private_keys(GEMMA) & {"_name_or_path", "_attn_implementation_internal", "_auto_class"}


@pytest.mark.parametrize(
    ("model_type", "implemented", "vocabulary"),
    [
        ("llama", True, True),
        ("gemma3", True, True),
        ("vit", False, False),
        ("no_such_model", False, False),
        (None, False, False),
    ],
)
def test_which_language_models_there_are(model_type: str | None, implemented: bool, vocabulary: bool) -> None:
    assert implements({"model_type": model_type}) is implemented
    assert has_vocabulary({"model_type": model_type}) is vocabulary


def test_a_class_that_needs_values_has_no_defaults() -> None:
    assert _defaults("gemma4_assistant") == ()
    assert private_keys({"model_type": "gemma4_assistant"}) is not None
