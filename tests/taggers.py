"""Clips whose classes are easy to tell, small taggers for them, and their records."""

import json
from dataclasses import replace

import numpy as np
import pytest
from records import example_of

from streamdet.model.config import TaggerModelConfig
from train.audioset import tfrecord
from train.audioset.clips import AudioSetClip
from train.audioset.store import convert_records
from train.tagging.config import TaggerConfig

LAST = TaggerModelConfig(pooling="last_state", cells=(6, 5), mixtures=2, classes=4)
OURS = TaggerModelConfig(cells=(6,), dense=7, classes=4)
SMALL = TaggerConfig(
    name="tiny", version="0", model=OURS, batch=8, steps=12, warmup=2, learning_rate=0.02,
    dropout=0.1, mixup=0.4, balanced_share=0.5, missing=0.01, average=0.9, validation=0.2,
    validate_every=4, checkpoint_every=4,
)  # fmt: skip
LONGER = replace(SMALL, steps=30, checkpoint_every=5, validate_every=15)


def clips(count=80):
    """Clips whose class is told by which quarter of their embeddings is loud."""
    rng = np.random.default_rng(0)
    for i in range(count):
        label = i % 4
        frames = rng.integers(100, 156, (int(rng.integers(6, 11)), 128), dtype=np.uint8)
        frames[:, 32 * label : 32 * label + 32] += 60
        yield AudioSetClip(f"clip{i}", 0.0, 10.0, (label,), frames)


def stored(folder):
    """Those clips as TFRecords in the folder, and converted in the one that it returns."""
    made = b"".join(tfrecord.frame_payload(example_of(c)) for c in clips())
    (folder / "a.tfrecord").write_bytes(made)
    convert_records(folder, folder / "store")
    return folder / "store"


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("records"))


def class_list(folder):
    names = ["Speech", "Gunshot, gunfire", "Cap gun", "Dog"]
    lines = [f'{i},/{i},"{name}"' for i, name in enumerate(names)]
    (folder / "class_labels_indices.csv").write_text("index,mid,display_name\n" + "\n".join(lines))
    tree = [{"id": f"/{i}", "name": n, "child_ids": []} for i, n in enumerate(names)]
    tree[1]["child_ids"] = ["/2"]
    (folder / "ontology.json").write_text(json.dumps(tree))
