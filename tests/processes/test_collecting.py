"""The collector of cycles is still within the block, and afterwards as it was."""

import gc

import pytest

from unlearn_guard.processes.collecting import uncollected


def test_it_is_still_within_and_as_before_afterwards() -> None:
    assert gc.isenabled()
    seen = []

    def fails() -> None:
        with uncollected():
            seen.append(gc.isenabled())
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fails()
    assert seen == [False]
    assert gc.isenabled()


def test_who_had_switched_it_off_finds_it_so() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
