"""gptqmodel's process goes with the process that asked it, whoever made that one."""

import multiprocessing

from unlearn_guard.quantizers import worker


def use_the_pool() -> None:
    assert worker._pool().submit(abs, -3).result() == 3


def test_a_process_that_multiprocessing_made_does_not_wait_for_its_pool_for_ever():
    asking = multiprocessing.get_context("spawn").Process(target=use_the_pool)
    asking.start()
    asking.join(60)
    try:
        assert asking.exitcode == 0
    finally:
        asking.kill()
