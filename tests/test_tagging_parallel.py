"""A tagger's run over several devices, and over several hosts."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from taggers import SMALL

from streamdet.model import tagger_bundle
from train.detector import journal
from train.detector.parallel import BatchSharding
from train.errors import TrainError

PARALLEL = """
import json, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import jax
from taggers import SMALL
from train.detector.parallel import BatchSharding, join_hosts
from train.tagging import loop
from train.tagging.clips import TaggerClips
store, host = Path(sys.argv[1]), int(sys.argv[2])
if host >= 0:
    join_hosts(sys.argv[3], 2, host)
sharding = BatchSharding(SMALL.batch)
state, losses = sharding.replicate_state(loop.create_state(SMALL)), []
for batch in TaggerClips(SMALL, store, None, store).iter_batches(0):
    state, loss = loop.train_step(SMALL, state, sharding.shard_batch(batch))
    losses.append(float(loss))
if host >= 0:
    loop.fit(SMALL, store, Path(sys.argv[4]), report=lambda _: None)
print(json.dumps([jax.device_count(), losses]))
"""


def parallel(store, devices, host=-1, coordinator="", run=""):
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
             "JAX_PLATFORMS": "cpu"}  # fmt: skip
    body = PARALLEL.format(tests=str(ROOT / "tests"))
    command = [sys.executable, "-c", body, str(store), str(host), coordinator, str(run)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **flags}, text=True,
                            stdout=subprocess.PIPE)  # fmt: skip


def test_four_devices_give_the_losses_of_one(store):
    results = []
    for devices in (1, 4):
        with parallel(store, devices) as process:
            results.append(json.loads(process.communicate(timeout=200)[0]))
    (one, alone), (four, sharded) = results
    assert (one, four, len(alone)) == (1, 4, SMALL.steps)
    np.testing.assert_allclose(sharded[:2], alone[:2], rtol=1e-5)
    np.testing.assert_allclose(sharded, alone, rtol=2e-3)
    with pytest.raises(TrainError, match="to a multiple of 1"):
        BatchSharding(0.5)


def test_two_hosts_train_one_network(store, tmp_path):
    """Each has half of every batch. Both have the same falling losses, and write one run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    hosts = [parallel(store, 1, host, coordinator, tmp_path / "run") for host in (0, 1)]
    results = [
        json.loads(process.communicate(timeout=200)[0].splitlines()[-1]) for process in hosts
    ]
    assert results[0] == results[1]
    devices, losses = results[0]
    assert devices == 2
    assert losses[-1] < losses[0]
    summary = journal.read_summary(tmp_path / "run")
    assert (summary["devices"], summary["last"]["step"]) == (2, SMALL.steps)
    assert len(journal.read_journal(tmp_path / "run")) == 3
    assert tagger_bundle.load(tmp_path / "run" / "best")[2]["step"] == summary["best"]["step"]
