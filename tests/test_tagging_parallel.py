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
from train.detector.parallel import Spread
from train.errors import TrainError

PARALLEL = """
import json, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import jax
from taggers import SMALL
from train.parallel import Spread, joined
from train.tagging import loop
from train.tagging.clips import RunClips
store, host = Path(sys.argv[1]), int(sys.argv[2])
if host >= 0:
    joined(sys.argv[3], 2, host)
spread = Spread(SMALL.batch)
state, losses = spread.state(loop.create_state(SMALL)), []
for batch in RunClips(SMALL, store, None, store).from_step(0):
    state, loss = loop.train_step(SMALL, state, spread.batch(batch))
    losses.append(float(loss))
if host >= 0:
    loop.fit(SMALL, store, Path(sys.argv[4]), said=lambda _: None)
print(json.dumps([jax.device_count(), losses]))
"""


def parallel(store, devices, host=-1, coordinator="", run=""):
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
             "JAX_PLATFORMS": "cpu"}  # fmt: skip
    body = PARALLEL.format(tests=str(ROOT / "tests"))
    command = [sys.executable, "-c", body, str(store), str(host), coordinator, str(run)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **flags}, text=True,
                            stdout=subprocess.PIPE)  # fmt: skip


def test_four_devices_come_to_the_losses_of_one(store):
    said = []
    for devices in (1, 4):
        with parallel(store, devices) as process:
            said.append(json.loads(process.communicate(timeout=200)[0]))
    (one, alone), (four, spread) = said
    assert (one, four, len(alone)) == (1, 4, SMALL.steps)
    np.testing.assert_allclose(spread[:2], alone[:2], rtol=1e-5)
    np.testing.assert_allclose(spread, alone, rtol=2e-3)
    with pytest.raises(TrainError, match="a multiple"):
        Spread(0.5)


def test_two_hosts_train_one_network(store, tmp_path):
    """Each with half of every batch: the same losses on both, and falling; one run of both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    hosts = [parallel(store, 1, host, coordinator, tmp_path / "run") for host in (0, 1)]
    said = [json.loads(process.communicate(timeout=200)[0].splitlines()[-1]) for process in hosts]
    assert said[0] == said[1]
    devices, losses = said[0]
    assert devices == 2
    assert losses[-1] < losses[0]
    ended = journal.concluded(tmp_path / "run")
    assert (ended["devices"], ended["last"]["step"]) == (2, SMALL.steps)
    assert len(journal.read(tmp_path / "run")) == 3
    assert tagger_bundle.load(tmp_path / "run" / "best")[2]["step"] == ended["best"]["step"]
