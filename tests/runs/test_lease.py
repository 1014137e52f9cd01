"""Who has a cell of a bucket: one of many, as long as it counts, and nobody who was taken over may publish."""

import threading
import time

import pytest

from tests.runs.buckets import made_bucket
from unlearn_guard.errors import StorageError, TakenError
from unlearn_guard.runs import lease as module
from unlearn_guard.runs.bucket import Bucket
from unlearn_guard.runs.lease import Lease, lease

BEAT = 0.05


def dead(bucket, number=1):
    """A holder that was killed: its claim stays and does not count."""
    bucket.write(f"cell/claim.{number:06}", b"somebody 7")


def test_one_of_many_has_it():
    bucket, held, refused, go = made_bucket(), [], [], threading.Event()

    def take():
        go.wait()
        try:
            with lease(bucket, "cell", beat=BEAT) as mine:
                held.append(mine.number)
                time.sleep(1)
        except TakenError:
            refused.append(1)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for each in threads:
        each.start()
    go.set()
    for each in threads:
        each.join()
    assert len(held) == 1
    assert len(refused) == 7


def test_what_is_released_is_free_at_once():
    bucket = made_bucket()
    for number in (1, 2, 3):
        begin = time.monotonic()
        with lease(bucket, "cell", beat=5) as mine:
            assert mine.number == number
            mine.assert_held()
        assert time.monotonic() - begin < 2


def test_a_holder_that_counts_is_left_alone_and_a_dead_one_is_followed():
    bucket = made_bucket()
    with (
        lease(bucket, "cell", beat=BEAT),
        pytest.raises(TakenError, match="has this cell"),
        lease(bucket, "cell", beat=0.2),
    ):
        pass
    dead(bucket, number=2)
    begin = time.monotonic()
    with lease(bucket, "cell", beat=BEAT) as mine:
        assert mine.number == 3
    assert time.monotonic() - begin >= module.PATIENCE * BEAT


def test_whoever_was_taken_over_may_not_publish():
    bucket = made_bucket()
    first = Lease(bucket=bucket, below="cell", beat=BEAT)
    first._take()  # and stops counting, as a machine that sleeps does
    with lease(bucket, "cell", beat=BEAT) as second:
        with pytest.raises(TakenError, match="taken this cell over"):
            first.assert_held()
        second.assert_held()


def test_of_two_that_find_the_same_holder_dead_one_follows():
    bucket = made_bucket()
    dead(bucket)
    first, second = (Lease(bucket=bucket, below="cell", beat=BEAT) for _ in range(2))
    second._highest = lambda: 1  # it looked before the first took number 2
    first._take()
    with pytest.raises(TakenError, match="just taken"):
        second._take()


class Careless:
    """A store that takes `create` for `write`, as some that call themselves S3 do."""

    def __init__(self, files):
        self.files = files

    def pipe_file(self, path, data, mode="overwrite"):
        self.files.pipe_file(path, data)

    def __getattr__(self, name):
        return getattr(self.files, name)


def test_a_store_that_does_not_create_exclusively_is_refused():
    bucket = made_bucket()
    careless = Bucket(url=bucket.url, files=Careless(bucket.files), root=bucket.root)
    with pytest.raises(StorageError, match="two processes could have one cell"), lease(careless, "cell", beat=BEAT):
        pass


def test_a_network_that_is_away_for_a_while_does_not_end_the_holder(monkeypatch):
    bucket, failed = made_bucket(), []
    first = Bucket.write

    def write(self, name, data):
        if not failed:
            failed.append(name)
            raise StorageError("away")
        first(self, name, data)

    with lease(bucket, "cell", beat=BEAT) as mine:
        monkeypatch.setattr(Bucket, "write", write)
        time.sleep(6 * BEAT)
        mine.assert_held()
    assert failed
    assert bucket.read("cell/claim.000001") == b"released"
