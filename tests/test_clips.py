"""The clips of events: what they contain, and how they are counted."""

from random import Random

import numpy as np
import pytest
from conftest import wait_for
from test_store import MODEL, record_of

from streamdet.config.schema import ClipsConfig, SourceConfig
from streamdet.config.schema import StoreConfig as StoreTable
from streamdet.daemon.clip_recorder import EventClip
from streamdet.daemon.event_storage import EventStorage
from streamdet.daemon.managed_source import ManagedSource
from streamdet.daemon.metrics import Metrics
from streamdet.daemon.metrics_publisher import MetricsPublisher
from streamdet.daemon.supervision import RetryPolicy
from streamdet.detection.decision import DecisionConfig


def test_clips_are_counted_across_a_change_of_the_storage(tmp_path):
    metrics = Metrics(MODEL, ["gate"])
    publisher = MetricsPublisher(metrics)
    source = ManagedSource(
        SourceConfig(name="gate", file=tmp_path / "x.wav"), RetryPolicy(1, 1, 1, 1, 1),
        DecisionConfig(0.5), lambda: pytest.fail("not opened"), 0.0, Random(),
    )  # fmt: skip
    kept = []
    for name in ("first", "second"):
        table = StoreTable(path=tmp_path / f"{name}.db")
        storage = EventStorage(table, ClipsConfig(folder=tmp_path / name, min_free_bytes=0))
        storage.start(lambda *_: None)
        record = record_of(0)
        storage.store.add(record)
        storage.enqueue_clip(EventClip(record, np.zeros(16_000, np.float32), 16_000, 0.5, 0.0))
        wait_for(lambda storage=storage: storage.clip_results)
        for _ in range(2):
            publisher.publish_storage([source], storage)
            labels = {"source": "gate", "result": "kept"}
            kept.append(metrics.registry.get_sample_value("streamdet_clips_total", labels))
        storage.close(2.0)
    assert kept == [1, 1, 2, 2]
