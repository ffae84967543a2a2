"""`scan --engine ray`: the same table from a cluster, also when a part of it is lost."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import records, streamdet, wait_for
from test_scan import BASE, begun, fill, rows

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
    """A head that works at nothing and two nodes of one CPU; a line to it loses one of them."""
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
    process = begun(archive, "--manifest", tmp_path / "ray.db", *on_ray, *BASE)
    wait_for(lambda: rows(tmp_path / "ray.db") >= 40, 90)
    cluster.stdin.write("lose one\n")
    cluster.stdin.flush()
    assert cluster.stdout.readline() == "lost\n"
    assert rows(tmp_path / "ray.db") < 240, "it was over before a node was lost"
    out, said = process.communicate(timeout=180)
    assert process.returncode == 0, said
    assert out == alone.stdout
    assert b"240 of 240 files heard" in said
    # and what one engine has done the other goes on with
    again = streamdet("scan", archive, "--manifest", tmp_path / "ray.db", *BASE)
    assert again.stdout == alone.stdout
    assert b"240 of them before" in again.stderr


def test_without_a_cluster_one_is_made_here(archive, tmp_path):
    part = archive / "reel1"
    args = ("scan", part, "--manifest", tmp_path / "m.db", *BASE)
    done = streamdet(*args, "--engine", "ray", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert len({e["source"] for e in records(done.stdout)}) == 40
    assert b"80 of 80 files heard" in done.stderr


def test_a_cluster_that_is_none_is_one_line(archive, tmp_path):
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
