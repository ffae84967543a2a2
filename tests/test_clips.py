"""The clips of events: what they contain, and how they are counted."""

from random import Random

import numpy as np
import pytest
import soundfile
from conftest import records, streamdet, wait_for
from test_evidence import clips_of
from test_store import MODEL, record_of

from streamdet import demo
from streamdet.audio.replay import ReplaySource
from streamdet.audio.ring import RingBuffer
from streamdet.audio.source import Block
from streamdet.config.schema import ClipsConfig, SourceConfig
from streamdet.config.schema import StoreConfig as StoreTable
from streamdet.constants import RATE
from streamdet.daemon.clip_recorder import EventClip
from streamdet.daemon.event_storage import EventStorage
from streamdet.daemon.managed_source import ManagedSource
from streamdet.daemon.metrics import Metrics
from streamdet.daemon.metrics_publisher import MetricsPublisher
from streamdet.daemon.source_history import SourceHistory
from streamdet.daemon.supervision import RetryPolicy
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.numpy_engine import NumpyEngine
from streamdet.pipeline.budget_threshold import BudgetThreshold, set_up_fixed
from streamdet.pipeline.source_pipeline import SourcePipeline


def test_clips_of_a_file_that_is_read_as_fast_as_possible_start_before_the_shot(scene, tmp_path):
    long, sound = tmp_path / "long.wav", np.tile(scene, 3)
    soundfile.write(long, sound, RATE, subtype="PCM_16")
    done = streamdet("listen", "--file", long, "--no-realtime", "--metrics", "off", "--threshold",
                     "0.6", "--phase", "final", "--store", tmp_path / "events.db", "--clips",
                     tmp_path / "events-clips")  # fmt: skip
    events = [e for e in records(done.stdout) if e["verified"]]
    assert len(events) == 9
    clips = clips_of(tmp_path)
    for event in events:
        samples, _ = clips[event["id"]]
        first = round((event["onset_s"] - 2.0) * RATE)
        assert len(samples) > 4 * RATE or event is events[-1]
        assert np.abs(samples - sound[first : first + len(samples)]).max() < 1e-3


@pytest.mark.parametrize("command", [["file"], ["listen", "--metrics", "off", "--file"]])
def test_infinite_samples_are_silence_in_clips(command, scene, tmp_path):
    broken, onset = scene.copy(), round(demo.ONSETS_S[0] * RATE)
    broken[onset - RATE : onset - RATE + 9], broken[onset + RATE] = np.inf, -np.inf
    soundfile.write(tmp_path / "broken.wav", broken, RATE, subtype="FLOAT")
    pace = ["--no-realtime"] if command[0] == "listen" else []
    done = streamdet(*command, tmp_path / "broken.wav", *pace, "--threshold", "0.6", "--store",
                     tmp_path / "events.db", "--clips", tmp_path / "events-clips")  # fmt: skip
    samples, _ = clips_of(tmp_path)[records(done.stdout)[0]["id"]]
    finite = np.nan_to_num(broken, nan=0.0, posinf=0.0, neginf=0.0)
    first = round((records(done.stdout)[0]["onset_s"] - 2.0) * RATE)
    assert np.abs(samples - finite[first : first + len(samples)]).max() < 1e-3


def test_a_clip_from_before_the_stored_scores_counts_as_speech(bundle, tmp_path):
    live = ReplaySource("gate", tmp_path / "x.wav", 60, lambda: None)
    live.set_format(48_000, 1)
    pipeline = SourcePipeline(NumpyEngine(bundle), DecisionConfig(0.5), live.rate, live.channels)
    history = SourceHistory(live, RingBuffer(1, 1), pipeline, None)
    for second in range(25):
        pipeline.feed(Block(second * live.rate, np.zeros((live.rate, 1), np.float32)))
    assert history.max_score("speech", 0, 25 * live.rate) < 0.5
    for second in range(25, 50):
        pipeline.feed(Block(second * live.rate, np.zeros((live.rate, 1), np.float32)))
    assert history.max_score("speech", 25 * live.rate, 50 * live.rate) < 0.5
    assert history.max_score("speech", 15 * live.rate, 50 * live.rate) == 1.0
    assert history.max_score("no such label", 0, 50 * live.rate) == 0.0


def test_clips_are_counted_across_a_change_of_the_storage(bundle, tmp_path):
    metrics = Metrics(MODEL, ["gate"])
    publisher = MetricsPublisher(metrics)
    source = ManagedSource(
        SourceConfig(name="gate", file=tmp_path / "x.wav"), RetryPolicy(1, 1, 1, 1, 1),
        DecisionConfig(0.5), lambda: pytest.fail("not opened"), 0.0, Random(),
        BudgetThreshold(set_up_fixed(bundle, 0.5)),
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
