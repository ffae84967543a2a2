"""`scan --engine ray`: a cluster gives the same table, also if it loses a node."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import records, streamdet, wait_for
from test_scan import BASE, fill, rows, start_scan

NODES = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
cluster.wait_for_nodes()
print(cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(nodes.pop(), allow_graceful=False)
    print("lost", flush=True)
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory, scene) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    fill(folder, scene, 240)
    return folder


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs and two nodes of one CPU. A line on stdin removes a node."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", NODES], stdin=subprocess.PIPE, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    process.address = process.stdout.readline().strip()
    assert process.address, "no cluster"
    yield process
    process.stdin.close()
    process.wait(timeout=60)
    process.stdout.close()


def test_a_cluster_that_loses_a_node_gives_the_same_bytes(archive, cluster, tmp_path):
    alone = streamdet("scan", archive, "--manifest", tmp_path / "local.db", "--jobs", "2", *BASE)
    assert alone.returncode == 0, alone.stderr
    on_ray = ("--engine", "ray", "--address", cluster.address)
    process = start_scan(archive, "--manifest", tmp_path / "ray.db", *on_ray, *BASE)
    wait_for(lambda: rows(tmp_path / "ray.db") >= 40, 180)
    cluster.stdin.write("lose one\n")
    cluster.stdin.flush()
    assert cluster.stdout.readline() == "lost\n"
    assert rows(tmp_path / "ray.db") < 240, "the scan ended before a node was lost"
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    assert out == alone.stdout
    assert b"240 of 240 files analysed" in err
    # the results of one engine are known to the other
    again = streamdet("scan", archive, "--manifest", tmp_path / "ray.db", *BASE)
    assert again.stdout == alone.stdout
    assert b"240 of them in an earlier run" in again.stderr


def test_without_a_cluster_a_temporary_one_is_started(archive, tmp_path):
    part = archive / "reel1"
    args = ("scan", part, "--manifest", tmp_path / "m.db", *BASE)
    done = streamdet(*args, "--engine", "ray", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert len({e["source"] for e in records(done.stdout)}) == 40
    assert b"80 of 80 files analysed" in done.stderr


def test_an_unreachable_cluster_is_one_line(archive, tmp_path):
    done = streamdet("scan", archive, "--manifest", tmp_path / "m.db", "--engine", "ray",
                     "--address", "127.0.0.1:1")  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == b"streamdet: ray: 127.0.0.1:1: Connection refused\n"
    code = (
        f"import sys; sys.modules['ray'] = None; sys.argv = ['streamdet', 'scan', {str(archive)!r},"
        f" '--engine', 'ray', '--manifest', {str(tmp_path / 'n.db')!r}]\n"
        "from streamdet.cli.main import run\nrun()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"pip install 'streamdet[cluster]'" in done.stderr
