"""Small invented data in the schemas of WMDP, MMLU, IFEval, MUSE and TOFU, and a hub that serves it; nothing real."""

import functools
import random
from pathlib import Path

import datasets

from unlearn_guard.scoring.pulling import pull
from unlearn_guard.scoring.suites import load_suite

WORDS = [
    first + last
    for first in ["am", "bas", "ced", "dam", "em", "fjo", "gar", "hea", "in", "jun", "ke", "lar"]
    for last in ["ber", "alt", "ar", "son", "ta"]
]

CALIBRATING = 100
"""How many retain prompts a data set has at least, as the real ones do: GPTQ and AWQ are calibrated on them."""

SUBJECTS = ("abstract_algebra", "high_school_us_history", "world_religions")


def words(draw: random.Random, count: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(count))


@functools.cache
def questions(count: int, seed: int = 0) -> list[dict]:
    """WMDP's schema; questions begin and end with the odd space, as some real ones do."""
    draw = random.Random(seed)
    return [
        {
            "question": f"{' ' * (index % 2)}What is the {words(draw, 2)} of number {index}?{' ' * (index % 3)}",
            "choices": [words(draw, draw.randint(1, 3)) for _ in range(4)],
            "answer": draw.randrange(4),
        }
        for index in range(count)
    ]


@functools.cache
def mmlu(count: int) -> list[dict]:
    return [{**each, "subject": SUBJECTS[index % 3]} for index, each in enumerate(questions(count, seed=1))]


def passages(count: int, kind: str, length: int = 40) -> list[str]:
    """Passages of an invented book; each kind is another book."""
    draw = random.Random(kind)
    return [f"In {kind} {index} there was {words(draw, length)}." for index in range(count)]


def qa(count: int, kind: str) -> list[dict]:
    draw = random.Random(kind)
    return [
        {"question": f"What grows at {kind} {index}?", "answer": f"{words(draw, 2)} grows there"}
        for index in range(count)
    ]


def muse(count: int = 12) -> dict[tuple[str, str], list[dict]]:
    """MUSE's configurations and splits: (config, split) -> rows."""
    forget, holdout = passages(count, "forget"), passages(count, "holdout")
    return {
        ("verbmem", "forget"): [
            {"prompt": " ".join(text.split()[:20]), "gt": " ".join(text.split()[20:])} for text in forget
        ],
        ("knowmem", "forget_qa"): qa(count, "forget"),
        ("knowmem", "retain_qa"): qa(max(count, CALIBRATING), "retain"),
        **{("knowmem", f"{kind}_qa_icl"): qa(10, f"{kind} example") for kind in ("forget", "retain")},
        ("privleak", "forget"): [{"text": text} for text in forget],
        ("privleak", "holdout"): [{"text": text} for text in holdout],
        ("privleak", "retain"): [{"text": text} for text in passages(count, "retain")],
    }


def tofu(count: int = 12) -> dict[tuple[str, str], list[dict]]:
    """TOFU's configurations, each with the one split `train`; wrong answers are written after the paraphrase."""
    found = {}
    for name in ("forget01", "forget05", "forget10", "retain", "real_authors", "world_facts"):
        draw = random.Random(name)
        wrong = "{} grows there" if "_" in name else "There grows {}"
        rows_wanted = count if name.startswith("forget") else max(count, CALIBRATING // 2)
        rows = [
            {
                **each,
                "perturbed_answer": [wrong.format(words(draw, 2)) for _ in range(3 if "_" in name else 5)],
                **({} if "_" in name else {"paraphrased_answer": f"There grows {each['answer'].split(' grows')[0]}"}),
            }
            for each in qa(rows_wanted, name)
        ]
        found[f"{name}_perturbed", "train"] = rows
    found["holdout10", "train"] = qa(count, "holdout10")
    return found


def ifeval() -> list[dict]:
    return [
        {
            "key": 1,
            "prompt": "Name a tree, no commas.",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{}],
        },
        {"key": 2, "prompt": "Speak low.", "instruction_id_list": ["change_case:english_lowercase"], "kwargs": [{}]},
    ]


class InventedHub:
    """Serves invented rows under the real datasets' names, and counts what it was asked."""

    def __init__(self, items: int = 12) -> None:
        self.asked: list[tuple] = []
        self.rows = {("cais/wmdp", f"wmdp-{name}", "test"): questions(n) for name, n in SIZES.items()}
        self.rows["cais/mmlu", "all", "test"] = mmlu(14042)
        self.rows["google/IFEval", None, "train"] = ifeval()
        for corpus in ("News", "Books"):
            self.rows |= {(f"muse-bench/MUSE-{corpus}", *key): rows for key, rows in muse(items).items()}
        self.rows |= {("locuslab/TOFU", *key): rows for key, rows in tofu(items).items()}

    def commit(self, dataset: str) -> str:
        return "0123456789abcdef" * 2 + "01234567"

    def split(self, dataset: str, config: str | None, split: str, revision: str) -> datasets.Dataset:
        self.asked.append((dataset, config, split, revision))
        return datasets.Dataset.from_list(self.rows[dataset, config, split])


SIZES = {"bio": 1273, "chem": 408, "cyber": 1987}
"""The real sizes: the fixed subsets refuse any other."""


def vendor(root: Path, *suites: str | Path, items: int = 12) -> Path:
    """A data folder for these suites, filled by the real `pull`."""
    pull([load_suite(suite) for suite in suites], root, hub=InventedHub(items))
    return root
