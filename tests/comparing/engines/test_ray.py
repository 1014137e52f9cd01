"""Cells on a Ray cluster of two nodes of this machine: one dies, and no cell is lost."""

import sys
import threading
import time

import pytest

from tests.comparing.test_compare import ASKED, PROGRAM, ROOT, Seen, cell, started
from tests.oracles.made_cells import write_made_run
from unlearn_guard.comparing.engines import ray as ray_engine
from unlearn_guard.errors import UsageError
from unlearn_guard.runs.cell_file import read_cell

NODES = [
    {"Alive": True, "Resources": {"CPU": 2.0, "memory": 8e9}},
    {"Alive": False, "Resources": {"CPU": 2.0, "memory": 64e9, "GPU": 1.0}},
]


def test_a_cell_takes_its_memory_and_a_device_where_there_are_some():
    assert ray_engine._resources(NODES, "auto", 4) == {"num_cpus": 1, "memory": 4}
    alive = [NODES[0], {**NODES[1], "Alive": True}]
    assert ray_engine._resources(alive, "auto", 4) == {"num_cpus": 1, "memory": 4, "num_gpus": 1}
    assert ray_engine._resources(alive, "cpu", 4) == {"num_cpus": 1, "memory": 4}
    four = [NODES[0], {"Alive": True, "Resources": {"CPU": 2.0, "memory": 8e9, "GPU": 4.0}}]
    assert ray_engine._resources(four, "auto", 4, 4) == {"num_cpus": 1, "memory": 4, "num_gpus": 4}


@pytest.mark.parametrize(("device", "room", "gpus"), [("auto", 10**10, 1), ("cuda", 4, 1), ("auto", 4, 2)])
def test_what_no_node_could_take_is_refused_and_not_waited_for(device, room, gpus):
    with pytest.raises(UsageError, match="no node"):
        ray_engine._resources(NODES, device, room, gpus)


def test_devices_of_two_nodes_are_not_one_cell_s():
    two = [{"Alive": True, "Resources": {"CPU": 2.0, "memory": 8e9, "GPU": 1.0}}] * 2
    with pytest.raises(UsageError, match="GPU 2"):
        ray_engine._resources(two, "auto", 4, 2)
    with pytest.raises(UsageError, match="--device cpu"):
        ray_engine._resources(two, "cpu", 4, 2)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    write_made_run(tmp_path / "made")
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


@pytest.fixture
def cluster(place, monkeypatch):
    """A head that holds one cell and a second node that holds two; all of it on the loopback."""
    from ray.cluster_utils import Cluster

    # Ray turns 127.0.0.1 into the machine's own address, save where it takes the machine for a cluster of one.
    monkeypatch.setattr("ray._private.ray_constants.ENABLE_RAY_CLUSTER", False)

    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "memory": 2 * 10**9}
    made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    made.second = made.add_node(**{**node, "num_cpus": 2})
    yield made
    made.shutdown()


@pytest.mark.slow
def test_a_node_that_dies_in_mid_run_loses_no_cell(cluster, place):
    made = [cell(f"slow{index}") for index in range(6)] + [cell("fails")]
    seen = Seen()

    def kill():
        deadline = time.monotonic() + 60
        while (not (place / "started").exists() or len(started()) < 3) and time.monotonic() < deadline:
            time.sleep(0.05)
        cluster.remove_node(cluster.second, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    command = (sys.executable, "program.py")
    ray_engine.run(ASKED, made, seen, room=10**6, address=cluster.address, command=command)
    killer.join()
    assert {each.method: read_cell(each.folder).state for each in made} == {
        **{f"slow{index}": "measured" for index in range(6)}, "fails": "failed",
    }  # fmt: skip
    assert len(started()) > 7, "no cell was at work on the node that died"
    assert sum(finished for _, _, finished in seen.ends) == 7
