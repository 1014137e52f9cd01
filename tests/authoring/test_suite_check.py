"""What `suite check` finds: with a base its tokens, pairs and answers, without one everything else, and no torch."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from organism_questions import questions, write

from unlearn_guard.authoring.findings import SuiteCheck
from unlearn_guard.authoring.needs import unmeasured
from unlearn_guard.authoring.publishing import SuiteRequest, init_suite
from unlearn_guard.authoring.suite_check import check_suite
from unlearn_guard.errors import SuiteError
from unlearn_guard.judging.gap import DISCORDANCE, smallest_gap
from unlearn_guard.organism.candidates import build
from unlearn_guard.records import RESIDUES
from unlearn_guard.scoring.suites import load_suite


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return build("base", tmp_path_factory.mktemp("organism") / "base", seed=0)


@pytest.fixture(autouse=True, scope="module")
def store(tmp_path_factory):
    """One for all, so that base is copied once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARN_GUARD_CACHE", str(tmp_path_factory.mktemp("store")))
        yield


@pytest.fixture
def ours(files, tmp_path):
    """A suite of these questions; call it again to replace it."""

    def make(**more):
        request = SuiteRequest(
            name="ours", forget=files[0], retain=files[1], out=tmp_path / "suites", replace=True, **more
        )
        return init_suite(request).suite

    return make


def found(tmp_path, base=None):
    return check_suite(SuiteCheck(name="ours", base=base and str(base), tasks_dirs=(tmp_path / "suites",)))


def test_items_letters_gaps_and_the_first_question_need_no_base(ours, tmp_path):
    ours(about="islanders")
    told = found(tmp_path)
    forget, retain = told.tasks
    assert (forget.task.items, retain.task.items) == (12, 12)
    assert sum(forget.letters.values()) == 12
    assert forget.letters == {
        letter: [q["answer"] for q in questions("forget", 12)].count(at) for at, letter in enumerate("ABCD")
    }
    assert forget.gap == retain.gap == smallest_gap(12, discordance=DISCORDANCE)
    assert told.shown[0].prompt.endswith("D. fountain\nAnswer:")
    assert (told.shown[0].choices, told.shown[0].target) == ((" A", " B", " C", " D"), "1")
    assert told.base is None
    assert told.defects == ()


def test_with_a_base_tokens_pairs_and_scores_are_told(ours, tmp_path, base):
    ours(about="islanders")
    told = found(tmp_path, base)
    assert told.defects == ()
    assert told.base.tokens[0][:3] == ("<s>", "The", "following")
    assert told.base.known == ("ours_forget",)
    assert told.base.scores["ours_forget"].value > 0.9
    (pairs,) = told.base.pairs
    assert (pairs.source, pairs.asked) == ("swapped", 12)
    assert pairs.usable + sum(pairs.left_out.values()) == 12


def test_pairs_that_the_tokenizer_cannot_make_are_a_defect_with_the_reason(ours, tmp_path, base):
    """The organism knows no word of the neutral stem."""
    ours(about="islanders", pairs="neutral")
    told = found(tmp_path, base)
    assert [(each.where, each.found) for each in told.defects] == [
        ("ours_forget", "0 usable prompt pairs of 12 questions")
    ]
    assert sum(told.base.pairs[0].left_out.values()) == 12
    assert "neutral stem" in next(iter(told.base.pairs[0].left_out))
    assert "usable pairs" in told.unmeasured["cad"]


def test_too_few_questions_of_one_length_are_a_defect(ours, files, tmp_path, base):
    write(files[0], questions("forget", 3))
    ours(about="islanders")
    told = found(tmp_path, base)
    assert "usable prompt pairs of 3 questions" in told.defects[0].found


def test_a_file_of_pairs_is_read_by_the_base_s_tokenizer(ours, tmp_path, base):
    pair = {"clean": "the herb of Ala", "corrupted": "the gem of Ala", "target": " sage", "wrong": [" dill"]}
    write(tmp_path / "p.jsonl", [pair, pair | {"corrupted": "the gem of Ala Ala"}])
    ours(about="islanders", pairs=str(tmp_path / "p.jsonl"))
    told = found(tmp_path, base)
    assert "clean and" in told.defects[0].found
    assert "pairs.jsonl:2" in told.defects[0].where


def test_what_base_does_not_know_is_a_defect(ours, files, tmp_path, base):
    rows = questions("forget", 12)
    write(files[0], [row | {"answer": (row["answer"] + 1 + place % 3) % 4} for place, row in enumerate(rows)])
    ours(about="islanders")
    told = found(tmp_path, base)
    assert [each.where for each in told.defects] == ["ours_forget"]
    assert "is not clearly above chance" in told.defects[0].found
    assert told.unmeasured["forget_drop"] == "base knows none of the forget tasks"


def test_too_few_or_too_short_texts_to_calibrate_on_are_a_defect(ours, files, tmp_path, base):
    write(files[1], [{"question": f"Q {n}?", "choices": ["harp", "key"], "answer": n % 2} for n in range(12)])
    suite = ours(ask="texts")
    assert [each.where for each in found(tmp_path).defects] == []
    assert "with at least 11 tokens; 12 are wanted" in found(tmp_path, base).defects[0].found
    suite.path.write_text(suite.path.read_text().replace("samples: 12", "samples: 13"))
    assert any("13 are wanted" in each.found for each in found(tmp_path).defects)


def test_corpora_that_unlearn_would_refuse_are_a_defect(ours, tmp_path, base):
    suite = ours(about="islanders")
    corpus = suite.unlearn.forget[0].path
    lines = corpus.read_text().splitlines()
    corpus.write_text("\n".join([*lines, "no json"]) + "\n")
    assert [each.where for each in found(tmp_path).defects] == [f"forget.jsonl:{len(lines) + 1}"]
    corpus.write_text("\n".join([*lines, json.dumps({"prompt": "x", "answer": ""})]) + "\n")
    assert any(f"forget.jsonl:{len(lines) + 1}" in each.where for each in found(tmp_path, base).defects)
    corpus.unlink()
    assert "there is no corpus" in found(tmp_path).defects[0].found


def test_a_letter_that_is_nearly_always_right_is_warned_of(ours, files, tmp_path):
    rows = [
        row | {"choices": [row["choices"][row["answer"]], "x", "y", "z"], "answer": 0}
        for row in questions("forget", 11)
    ]
    write(files[0], [*rows, {"question": "Which is it?", "choices": ["u", "v", "w", "x"], "answer": 3}])
    ours()
    assert any("A is right in 11 of 12 items" in each for each in found(tmp_path).warnings)


def test_a_task_that_can_tell_nothing_and_too_few_texts_are_warned_of(ours, files, tmp_path):
    write(files[1], questions("retain", 5))
    ours()
    warned = found(tmp_path).warnings
    assert any("ours_retain asks 5 items: not even" in each for each in warned)
    assert any("calibrate on 5 texts" in each for each in warned)
    assert not any("ours_forget asks 12 items: not even" in each for each in warned)


def test_written_answers_have_no_gap_and_a_floor_is_asked_for(ours, files, tmp_path):
    write(files[0], [{"question": f"Who made {n}?", "answer": f"Ada {n}"} for n in range(6)])
    ours()
    told = found(tmp_path)
    assert [(each.counted, each.gap) for each in told.tasks[:2]] == [(False, None)] * 2
    assert any("ours_forget_rouge has no `floor`" in each for each in told.warnings)


def test_every_metric_is_either_measured_or_missing_for_a_reason(tmp_path):
    tofu, muse = load_suite("tofu"), load_suite("muse-news")
    missing = unmeasured(tofu, None)
    assert set(missing) == {
        *("privleak", "forget_quality", "forget_truth_ratio", "paraphrase_recovery", "mia_auc", "mia_reference"),
        *RESIDUES,
        *("lineage", "calibration_spread"),
    }
    assert "check --measure" in missing["relearn_recovery"]
    assert "--retrained" in missing["forget_quality"]
    whole = unmeasured(load_suite("tofu-open-unlearning"), None)
    assert set(whole) == set(missing) - {"mia_auc"}
    assert "--retrained" in whole["mia_reference"]
    assert unmeasured(load_suite("organism"), None)["repetition"] == "no task is answered in words"
    assert "privleak" not in unmeasured(muse, None)
    bare = replace(
        muse, forget=tuple(replace(spec, pairs=None) for spec in muse.forget), calibration=None, unlearn=None
    )
    missing = unmeasured(bare, None)
    assert missing["cad"] == missing["as_nc"] == "no forget task names `pairs`"
    assert {"gptq, awq", "unlearn"} <= set(missing)


def test_a_suite_that_is_none_is_refused(tmp_path):
    (tmp_path / "suites").mkdir()
    with pytest.raises(SuiteError, match="no suite"):
        found(tmp_path)


def test_without_a_base_no_torch_is_loaded():
    code = (
        "import sys; from unlearn_guard.authoring.findings import SuiteCheck;"
        "from unlearn_guard.authoring.suite_check import check_suite; told = check_suite(SuiteCheck(name='organism'));"
        "print(len(told.tasks), 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["7", "False", "False"]
