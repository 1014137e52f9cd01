"""`compare --out s3://...` against a real S3 server on this machine: killed, gone on with, and the local numbers."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import Done

from tests.quiz import limits
from unlearn_guard.runs.bucket import Bucket, open_bucket

pytestmark = pytest.mark.slow

Guard = Callable[..., Done]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What a process needs to find the server, which holds one empty bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    made = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    made.start()
    host, port = made.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="results")
    yield variables
    made.stop()


def numbers(bucket: Bucket) -> dict[str, object]:
    runs = [name for name in bucket.names("cells") if name.endswith("run/run.json")]
    return {name.split("/")[0]: json.loads(bucket.read(f"cells/{name}") or b"")["measurements"] for name in runs}


def test_a_killed_comparison_goes_on_and_its_numbers_are_the_local_ones(
    guard: Guard, environment: dict[str, str], candidate: Callable[[str], Path], server: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "policy.yaml").write_text(limits("forget_drop", precisions=("full",)))
    (tmp_path / "grid.yaml").write_text("grad_diff: {steps: 2, batch_size: 4, lr: 1e-3}")
    words = (
        *("--methods", "grad_diff", "--base", candidate("base"), "--suites", "organism", "--seeds", "0,1"),
        *("--grid", tmp_path / "grid.yaml", "--precisions", "full", "--thresholds", tmp_path / "policy.yaml"),
        *("--limit", "4", "--device", "cpu"),
    )
    url = "s3://results/ours"
    own = server | {"UNLEARN_GUARD_CACHE": str(tmp_path / "store")}
    command = [sys.executable, "-m", "unlearn_guard", "compare", *map(str, words), "--out", url]
    driver = subprocess.Popen(command, env=environment | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    bucket, deadline = open_bucket(url), time.monotonic() + 120
    while not any("claim" in name for name in bucket.names("cells")) and time.monotonic() < deadline:
        time.sleep(0.1)
    driver.kill()
    assert driver.wait() == -9
    assert not numbers(bucket), "it was to be killed at its first cell"

    done = guard("compare", *words, "--out", url, **own)
    assert done.status == 0, done.text
    assert f"{url}/leaderboard/" in done.err
    local = guard("compare", *words, "--out", tmp_path / "local", UNLEARN_GUARD_CACHE=str(tmp_path / "another"))
    assert local.status == 0, local.text
    assert numbers(bucket) == {
        path.parts[-3]: json.loads(path.read_text())["measurements"]
        for path in sorted((tmp_path / "local").glob("cells/*/run/run.json"))
    }
    assert len(numbers(bucket)) == 2
    assert "index.html" in bucket.names("leaderboard")

    # Another machine: nothing but the URL, and nothing to measure.
    other = server | {"UNLEARN_GUARD_CACHE": str(tmp_path / "other")}
    before = {name: bucket.read(f"cells/{name}") for name in bucket.names("cells")}
    planned = guard("plan", *words, "--out", url, **other)
    assert "2 cells, 0 left" in planned.out, planned.text
    ranked = guard("leaderboard", url, "--out", tmp_path / "site", **other)
    assert ranked.status == 0, ranked.text
    assert "grad_diff" in (tmp_path / "site" / "leaderboard.csv").read_text()
    assert {name: bucket.read(f"cells/{name}") for name in bucket.names("cells")} == before


def test_a_bucket_that_is_not_there_is_no_usage_error_and_says_which(
    guard: Guard, candidate: Callable[[str], Path], server: dict[str, str], tmp_path: Path
) -> None:
    words = ("--methods", "grad_diff", "--base", candidate("base"), "--suites", "organism")
    done = guard("plan", *words, "--out", "s3://nowhere/ours", **server)
    assert done.status in (0, 3), done.text  # listing an absent bucket finds nothing; writing to it cannot
    done = guard("compare", *words, "--out", "s3://nowhere/ours", "--precisions", "full", **server)
    assert done.status == 3, done.text
    assert "s3://nowhere/ours" in done.text
