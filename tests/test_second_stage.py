"""A bundle of two stages as a user runs it: files, a daemon, outputs, the self-test."""

import json

import numpy as np
import pytest
from conftest import records, streamdet, wait_for
from test_verification import make_verifier

from streamdet.model import bundle as bundles
from streamdet.model.bundle import OperatingPoint
from streamdet.model.config import FrontendConfig, ModelConfig, VerifierConfig
from streamdet.outputs.queue import RecordFilter


def save_two_stages(folder, bias):
    """The default detector with a verifier that answers the same to everything."""
    first, verifier = bundles.load(), make_verifier(VerifierConfig(), threshold=0.45)
    assert isinstance(first.frontend, FrontendConfig)
    assert isinstance(first.model, ModelConfig)
    verifier.params["head"] = {
        "kernel": np.zeros_like(verifier.params["head"]["kernel"]),
        "bias": np.full(1, bias, np.float32),
    }
    return bundles.save(
        folder, name="two", version="1", frontend=first.frontend, model=first.model,
        params=first.params, operating_points={"sensitive": OperatingPoint(0.5, {}, 0.8)},
        default_point="sensitive", about={}, verifier=verifier,
    )  # fmt: skip


@pytest.fixture(scope="module")
def agreeing(tmp_path_factory):
    return save_two_stages(tmp_path_factory.mktemp("agreeing"), 3.0)


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    return save_two_stages(tmp_path_factory.mktemp("refusing"), -3.0)


def test_a_file_lists_verified_events_with_both_scores(wav, agreeing):
    result = streamdet("file", wav, "--model", agreeing, "--explain")
    events = records(result.stdout)
    assert len(events) == 3
    for event in events:
        assert event["verified"] is True
        assert event["score"] == pytest.approx(0.9526, abs=1e-4)
        assert event["threshold"] == 0.5
        assert 0.45 <= event["stage_score"] <= 1.0
    table = streamdet("file", wav, "--model", agreeing, "--explain", "--format", "table")
    assert table.stdout.count(b"first stage") == 3


def test_a_file_leaves_out_what_the_verifier_refuses_unless_it_is_off(wav, refusing):
    assert streamdet("file", wav, "--model", refusing).stdout == b""
    events = records(streamdet("file", wav, "--model", refusing, "--verify", "off").stdout)
    assert len(events) == 3
    assert {event["threshold"] for event in events} == {0.8}
    assert all("verified" not in event for event in events)


def test_at_a_threshold_below_that_of_candidates_the_verifier_still_decides(wav, refusing):
    done = streamdet("file", wav, "--model", refusing, "--threshold", "0.1")
    assert (done.returncode, done.stdout) == (0, b"")


def test_scores_of_a_file_are_final_ones(wav, agreeing, tmp_path):
    streamdet("file", wav, "--model", agreeing, "--scores", tmp_path)
    with np.load(tmp_path / "scene.npz") as stored:
        gunshot = stored["scores"][:, 0]
    assert gunshot.max() == pytest.approx(0.9526, abs=1e-4)
    assert np.count_nonzero(gunshot == gunshot.max()) % VerifierConfig().core == 0


def test_the_engines_agree_with_a_verifier(wav, agreeing):
    keys = ("onset_s", "offset_s", "verified")
    events = [
        [[event[k] for k in keys] for event in records(result.stdout)]
        for result in (
            streamdet("file", wav, "--model", agreeing, "--platform", platform)
            for platform in ("numpy", "cpu")
        )
    ]
    assert events[0] == events[1]


def test_the_self_test_needs_the_second_stage_to_agree(agreeing, refusing):
    assert streamdet("selftest", "--model", agreeing).returncode == 0
    assert streamdet("selftest", "--model", refusing).returncode == 1
    assert streamdet("selftest", "--model", refusing, "--verify", "off").returncode == 0


def test_model_info_names_the_second_stage(agreeing):
    out = streamdet("model", "info", agreeing).stdout.decode()
    assert "second stage: " in out
    assert "0.4500" in out


def test_a_daemon_sends_onsets_at_once_and_verified_events_where_they_are_wanted(
    daemon, wav, agreeing, tmp_path
):
    verified = tmp_path / "verified.jsonl"
    service = daemon(
        f'model = "{agreeing}"\n[jsonl]\npath = "{verified}"\ntell = "verified"\n'
        f'[[sources]]\nname = "gate"\nfile = "{wav}"\nrealtime = false\n',
        wait=False,
    )
    assert service.process.wait(60) == 0
    onsets, finals = service.events("gate", "onset"), service.events("gate", "final")
    assert len(onsets) == len(finals) == 3
    assert {e["verified"] for e in onsets} == {None}
    assert {e["verified"] for e in finals} == {True}
    told = [json.loads(line) for line in verified.read_text().splitlines()]
    assert [e["phase"] for e in told] == ["onset", "final"] * 3
    assert {e["verified"] for e in told} == {True}
    assert {e["id"] for e in told} == {e["id"] for e in onsets}


def test_a_daemon_counts_candidates_and_keeps_refused_ones_from_the_store(
    daemon, wav, refusing, tmp_path
):
    service = daemon(
        f'model = "{refusing}"\n[store]\npath = "{tmp_path / "events.db"}"\n'
        f'[[sources]]\nname = "gate"\nfile = "{wav}"\nrealtime = false\nloop = true\n'
    )
    assert wait_for(lambda: service.metric("candidates_total", source="gate") >= 3)
    assert wait_for(lambda: service.metric("verification_duration_seconds_count") >= 3)
    assert service.metric("verified_total", source="gate") == 0
    assert service.metric("detections_total", source="gate") == 0
    assert wait_for(lambda: service.events("gate", "final"))
    assert {e["verified"] for e in service.events("gate", "final")} == {False}
    assert service.stop() == 0
    listed = streamdet("events", "list", "--store", tmp_path / "events.db", "--format", "jsonl")
    assert listed.stdout == b""


@pytest.mark.parametrize(
    ("tell", "expected"),
    [
        ("onset", ["plain", "candidate", "refused", "confirmed end"]),
        ("verified", ["plain", "confirmed", "confirmed end"]),
    ],
)
def test_which_records_an_output_gets(tell, expected):
    def record(phase, **verification):
        return {"type": "gunshot", "phase": phase, **verification}

    stream = {
        "plain": record("onset"),
        "candidate": record("onset", verified=None, stage_score=0.4),
        "confirmed": record("onset", verified=True, stage_score=0.4),
        "refused": record("final", verified=False, stage_score=0.4),
        "confirmed end": record("final", verified=True, stage_score=0.4),
    }
    wanted = RecordFilter(tell=tell)
    assert [name for name, one in stream.items() if wanted.matches(one)] == expected
