"""Generation settings key by key: which values bend an answer, and which end ids are base's and the tokenizer's."""

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoint_files import write
from transformers import GenerationConfig

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import Intake, open_checkpoint
from unlearn_guard.intake.answering import FLAGS, HARMLESS, LENGTHS, USUAL, _bends, compare_generation

FILE = "generation_config.json"


def side(folder: Path, settings: dict[str, Any] | None, eos: str | None = "w5", **documents: Any) -> Intake:
    write(folder, settings={"eos_token": eos}, **documents)
    if settings is not None:
        (folder / FILE).write_text(json.dumps(settings))
    return open_checkpoint(folder)


def compared(tmp_path: Path, ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[list[str], list[str]]:
    defects, notes = compare_generation(side(tmp_path / "a", ours), side(tmp_path / "b", theirs))
    return [f"{each.where}: {each.found}; {each.expected}" for each in defects], notes


@pytest.mark.parametrize("key", sorted(USUAL))
def test_what_leaves_an_answer_alone(key: str) -> None:
    assert not _bends(key, None, None)
    assert not any(_bends(key, None, value) for value in USUAL[key])
    assert _bends(key, None, "something else")
    assert _bends(key, None, 7)


@pytest.mark.parametrize("key", sorted(HARMLESS))
def test_what_only_says_how_tokens_are_drawn(key: str) -> None:
    for value in (None, True, False):
        assert not _bends(key, None, value)
    for value in (0, "no", [1]):
        assert _bends(key, None, value) is (key in FLAGS)


def test_every_flag_is_harmless_and_no_usual_key_is() -> None:
    assert FLAGS < HARMLESS
    assert not HARMLESS & {*USUAL, *LENGTHS}
    assert _bends("watermarking_config", None, {"a": 1})
    assert not _bends("watermarking_config", {"a": 1}, None)


@pytest.mark.parametrize(
    ("key", "ours", "theirs", "bends"),
    [
        ("max_new_tokens", None, 256, False),
        ("max_new_tokens", None, 255, True),
        ("max_new_tokens", 100, 100, False),
        ("max_new_tokens", 100, 99, True),
        ("max_new_tokens", 1000, 256, False),
        ("max_length", None, 512, False),
        ("max_length", None, 511, True),
        ("max_length", 20, 20, False),
        ("max_length", "20", 511, True),
        ("max_length", None, "9999", True),
        ("max_length", None, 9999.0, True),
        ("max_length", 5, None, False),
    ],
)
def test_how_long_an_answer_must_be_allowed_to_be(key: str, ours: Any, theirs: Any, bends: bool) -> None:
    assert _bends(key, ours, theirs) is bends


def test_what_bends_is_named_with_both_values_and_what_does_not_in_a_note(tmp_path: Path) -> None:
    ours = {"eos_token_id": 5, "num_beams": 2, "temperature": 0.5}
    theirs = {"eos_token_id": 5, "num_beams": 3, "temperature": 0.7, "not_transformers_own": 1}
    said, notes = compared(tmp_path, ours, theirs)
    assert said == [f"{FILE}: num_beams: 3; base's 2"]
    assert notes == [
        f"{FILE} differs from base's in what the guard does not use: 'not_transformers_own', 'temperature'"
    ]


def test_what_is_the_same_is_not_worth_a_word(tmp_path: Path) -> None:
    both = {"eos_token_id": [5, 6], "num_beams": 2}
    sides = ({**both, "transformers_version": version} for version in ("4.1.0", "4.2.0"))
    assert compared(tmp_path, *sides) == ([], [])
    assert compared(tmp_path / "x", {"guidance_scale": 2}, {"guidance_scale": 2.0}) == ([], [])


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (None, 5, []),  # the tokenizer's own end
        (None, 6, ["end ids [6]; base's []"]),
        (6, [6, 5], []),
        ([6], 6, []),
        (6, [6, 5, 7], ["end ids [5, 6, 7]; base's [6]"]),
        ([6, 5], 6, ["end ids [6]; base's [5, 6]"]),
        (6, 5, ["end ids [5]; base's [6]"]),
        (6, None, ["end ids []; base's [6]"]),
    ],
)
def test_ends_are_base_s_and_perhaps_the_tokenizer_s(tmp_path: Path, ours: Any, theirs: Any, said: list[str]) -> None:
    found, notes = compared(tmp_path, {"eos_token_id": ours}, {"eos_token_id": theirs})
    assert found == [f"{FILE}: eos_token_id: {each}" for each in said]
    told = [f"{FILE} ends texts at the tokenizer's own end, too ([5]), as the guard does for base"]
    assert [note for note in notes if "own end" in note] == (told if not said and ours != [6] else [])


@pytest.mark.parametrize(("ours", "theirs"), [("w5", "w6"), ("w5", None), (None, "w5"), (None, None), ("w6", "w5")])
def test_an_end_that_not_both_tokenizers_have_is_no_excuse(
    tmp_path: Path, ours: str | None, theirs: str | None
) -> None:
    before = side(tmp_path / "a", {"eos_token_id": 1}, ours)
    after = side(tmp_path / "b", {"eos_token_id": [1, 5]}, theirs)
    defects, notes = compare_generation(before, after)
    assert [each.where for each in defects] == [f"{FILE}: eos_token_id"]
    assert not any("own end" in note for note in notes)


def test_config_json_speaks_where_there_is_no_such_file(tmp_path: Path) -> None:
    ours = side(tmp_path / "a", None, config={"eos_token_id": 5})
    theirs = side(tmp_path / "b", None, config={"eos_token_id": 6, "num_beams": 4})
    assert [each.where for each in compare_generation(ours, theirs)[0]] == [
        f"{FILE}: eos_token_id",
        f"{FILE}: num_beams",
    ]
    file = side(tmp_path / "c", {"eos_token_id": 5}, config={"eos_token_id": 6, "num_beams": 4})
    assert compare_generation(ours, file)[0] == []


@pytest.mark.parametrize("text", ['{"temperature": "hot"}', '{"num_beams": -1}', '{"cache_implementation": "none"}'])
def test_settings_that_transformers_refuses_are_refused(tmp_path: Path, text: str) -> None:
    other = side(tmp_path / "b", json.loads(text))
    try:
        GenerationConfig.from_pretrained(tmp_path / "b")
    except Exception:
        with pytest.raises(CheckpointError, match=r"generation_config\.json: found settings that transformers refuses"):
            compare_generation(other, other)
    else:
        assert compare_generation(other, other) == ([], [])


def test_from_which_of_the_two_files_the_same_end_comes_is_not_worth_a_word(tmp_path: Path) -> None:
    ours, theirs = side(tmp_path / "a", None, config={"eos_token_id": 6}), side(tmp_path / "b", {"eos_token_id": 6})
    assert compare_generation(ours, theirs) == compare_generation(theirs, ours) == ([], [])
