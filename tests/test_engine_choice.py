"""The choice of the engine and of the threshold, and what the library leaves untouched."""

import os
import sys
from dataclasses import replace

import jax
import pytest

import streamdet
from streamdet.detection.event import (
    Detection,
    ModelId,
    channel_key,
    event_from_detection,
    event_id,
)
from streamdet.detection.jax_engine import JaxEngine
from streamdet.detection.numpy_engine import NumpyEngine
from streamdet.detection.onnx_engine import OnnxEngine
from streamdet.detection.operating_point import ThresholdError, choose_threshold
from streamdet.pipeline import engine_choice
from streamdet.pipeline.platform import Platform, PlatformError


def test_detect_changes_neither_the_environment_nor_jax(wav, monkeypatch):
    monkeypatch.delenv("NPROC", raising=False)
    monkeypatch.setattr(engine_choice, "MIN_ONNX_S", 1.0)  # the scene is a long file
    monkeypatch.setattr(engine_choice, "available_cores", lambda: 2)
    environment = dict(os.environ)
    platforms, updates = jax.config.jax_platforms, []
    monkeypatch.setattr(jax.config, "update", lambda *setting: updates.append(setting))
    for platform in ("auto", "cpu"):
        assert len(list(streamdet.detect(wav, threshold=0.6, platform=platform))) == 3
    assert dict(os.environ) == environment
    assert (jax.config.jax_platforms, updates) == (platforms, [])


@pytest.fixture
def configured():
    """What ``configure`` was called with."""
    calls = []

    def configure(platform, *, single_threaded=False):
        calls.append((platform, single_threaded))

    configure.calls = calls
    return configure


def test_configure_is_called_for_jax_alone_with_one_thread_for_a_pipelined_engine(
    bundle, configured, monkeypatch
):
    choose = engine_choice.file_engine
    monkeypatch.setattr(engine_choice, "available_cores", lambda: 2)
    plain = replace(bundle, graphs={})
    assert isinstance(choose(bundle, Platform.auto, 7_200.0, configured), OnnxEngine)
    assert isinstance(choose(plain, Platform.auto, 60.0, configured), NumpyEngine)
    assert configured.calls == []
    assert isinstance(choose(plain, Platform.auto, 7_200.0, configured), JaxEngine)
    engine_choice.live_engine(bundle, Platform.cpu, configured)
    monkeypatch.setattr(engine_choice, "available_cores", lambda: 1)
    choose(bundle, Platform.cpu, None, configured)
    engine_choice.scan_engine(bundle, Platform.cpu, configured)
    threads = [single_threaded for _, single_threaded in configured.calls]
    assert threads == [True, False, False, True]


def test_without_jax_auto_means_numpy_and_a_jax_platform_is_one_line(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    plain = replace(bundle, graphs={})
    assert isinstance(engine_choice.file_engine(plain, Platform.auto, 7_200.0), NumpyEngine)
    with pytest.raises(PlatformError, match="--platform cpu: JAX is not installed"):
        engine_choice.live_engine(bundle, Platform.cpu)


def test_a_threshold_goes_before_the_default_and_a_point_is_looked_up(bundle):
    points = bundle.operating_points
    assert choose_threshold(bundle) == points[bundle.default_point].threshold
    assert choose_threshold(bundle, None, "strict") == points["strict"].threshold
    assert choose_threshold(bundle, 0.3) == 0.3


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((0.5, "strict"), ("threshold", "operating_point")),
        ((None, "wild"), ("operating_point",)),
        ((0.0,), ("threshold",)),
        ((1.0,), ("threshold",)),
        ((float("nan"),), ("threshold",)),
    ],
)
def test_an_unusable_threshold_names_the_options_at_fault(bundle, arguments, options):
    with pytest.raises(ThresholdError) as caught:
        choose_threshold(bundle, *arguments)
    assert caught.value.options == options
    assert str(caught.value) == f"{' and '.join(options)}: {caught.value.problem}"


def test_an_events_id_names_the_channel_only_where_channels_are_separate():
    model = ModelId("m", "1", "abc")
    detection = Detection("final", 16_000, 24_000, 24_000, 1, 0.9, 0.5, -20.0, {}, "2")

    def make(**options):
        return event_from_detection(detection, source="a.wav", model=model, rate=16_000, **options)

    assert make().id == event_id("a.wav", model, 16_000, None, 16_000)
    separate = make(separate_channels=True)
    assert separate.id == event_id(channel_key("a.wav", "2"), model, 16_000, None, 16_000)
    assert separate.source == "a.wav"
    assert separate.id != make().id
    dated = make(unix_s=1_000.0)
    assert (dated.unix_s, dated.onset_s, dated.offset_s) == (1_000.0, 1.0, 1.5)
