"""Stored events, clips and verdict counts of a daemon."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import records, streamdet, wait_for
from hypothesis import given, settings
from hypothesis import strategies as st
from test_store import record_of

from streamdet.config.schema import ClipsConfig
from streamdet.config.schema import StoreConfig as StoreTable
from streamdet.daemon.clip_recorder import EventClip
from streamdet.daemon.event_storage import EventStorage
from streamdet.detection import incident
from streamdet.store.reader import EventFilter, StoreReader

TRIAL = """
threshold = 0.6
{more}
[store]
path = "{folder}/events.db"
{store}
[clips]
folder = "{folder}/events-clips"
{clips}
[[sources]]
name = "trial"
file = "{wav}"
{source}
"""


def trial(folder: Path, wav: Path, **parts: str) -> str:
    given = {"more": "", "store": "", "clips": "", "source": "loop = true", **parts}
    return TRIAL.format(folder=folder, wav=wav, **given)


def stored(folder: Path, *options: str) -> list[dict]:
    done = streamdet("events", "list", "--store", folder / "events.db", *options)
    return records(done.stdout) if done.returncode == 0 else []


def clips_of(folder: Path) -> dict[str, tuple[np.ndarray, int]]:
    return {p.stem: soundfile.read(p) for p in (folder / "events-clips").glob("*.flac")}


def test_a_clip_reaches_from_before_the_onset_to_after_the_end(daemon, wav, scene):
    service = daemon(trial(wav.parent, wav, source=""))
    folder = wav.parent
    assert service.process.wait(60) == 0
    events = [e for e in service.events(phase="final") if e["verified"]]
    records_by_id = {e["id"]: e for e in stored(folder)}
    assert records_by_id.keys() == {e["id"] for e in events}
    clips = clips_of(folder)
    assert clips.keys() == records_by_id.keys()
    for event in events:
        samples, rate = clips[event["id"]]
        first = round((event["onset_s"] - 2.0) * rate)
        last = min(len(scene), round((event["offset_s"] + 3.0) * rate))
        assert abs(len(samples) - (last - first)) <= 16
        assert np.abs(samples - scene[first : first + len(samples)]).max() < 1e-4
        picture = StoreReader(folder / "events.db").spectrogram(event["id"])
        assert picture is not None
        assert picture.onset_s == pytest.approx(2.0, abs=0.01)
        curve = json.loads(streamdet("events", "show", event["id"], "--store",
                                     folder / "events.db").stdout)["curve"]  # fmt: skip
        assert max(score for _, score in curve) == pytest.approx(event["score"], abs=1e-3)
        assert curve[0][0] == pytest.approx(-0.5, abs=0.05)
    assert {e["incident"] for e in records_by_id.values()} == {
        records_by_id[events[0]["id"]]["incident"]
    }


def test_review_counts_survive_a_restart(daemon, rapid, tmp_path):
    text = trial(tmp_path, rapid)
    service = daemon(text)
    wait_for(lambda: service.metric("clips_total", source="trial", result="kept") >= 2, 40)
    ids = [e["id"] for e in stored(tmp_path)]
    for event, verdict in zip(ids, (["true"], ["false", "--cause", "door"]), strict=False):
        done = streamdet("review", "--store", tmp_path / "events.db", "--event", event, "--verdict",
                         *verdict)  # fmt: skip
        assert done.returncode == 0, done.stderr
    labels = {"source": "trial", "verdict": "false"}
    wait_for(lambda: service.metric("reviews_total", **labels) == 1, 5)
    assert service.metric("false_positives_total", source="trial", cause="door") == 1
    assert service.metric("precision_ratio", source="trial", window="24h") == 0.5
    assert service.metric("reviewed_events", source="trial", window="30d") == 2
    assert service.metric("clip_storage_bytes") > 10_000
    service.kill()
    again = daemon(text, wait=False)
    first = wait_for(lambda: again.page("/metrics")[1], 40)
    assert 'streamdet_reviews_total{source="trial",verdict="false"} 1.0' in first
    assert 'streamdet_false_positives_total{cause="door",source="trial"} 1.0' in first
    streamdet("review", "--store", tmp_path / "events.db", "--event", ids[1], "--verdict", "true")
    wait_for(lambda: again.metric("precision_ratio", source="trial", window="24h") == 1.0, 10)
    assert again.metric("false_positives_total", source="trial", cause="door") == 1
    assert again.metric("reviews_total", source="trial", verdict="true") == 2


def test_clips_beyond_the_limits_are_removed_and_events_stay(daemon, rapid, tmp_path):
    service = daemon(trial(tmp_path, rapid, clips="max_bytes = 150000\npre_s = 0.5\npost_s = 0.5"))
    wait_for(lambda: service.metric("clips_total", source="trial", result="kept") >= 8, 60)
    assert service.metric("clip_storage_bytes") <= 150_000
    there = {p.stem: p.stat().st_size for p in (tmp_path / "events-clips").glob("*.flac")}
    assert sum(there.values()) <= 150_000
    assert len(stored(tmp_path)) > len(there)
    assert service.stop() == 0


def test_too_little_free_space_stops_clips_and_nothing_else(daemon, rapid, tmp_path):
    service = daemon(trial(tmp_path, rapid, clips=f"min_free_bytes = {10**15}"))
    wait_for(lambda: service.metric("clips_total", source="trial", result="no_room") >= 2, 40)
    assert service.said("clip not saved: ")
    assert clips_of(tmp_path) == {}
    assert len(stored(tmp_path)) >= 2
    assert service.ready()
    assert service.metric("sink_events_total", sink="store", result="failed") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_full_disk_stops_clips_and_delays_the_store(daemon, rapid, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", small], check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        service = daemon(trial(small, rapid, clips="min_free_bytes = 0"))
        wait_for(lambda: service.metric("errors_total", component="store") >= 1, 60)
        before = service.metric("detections_total", source="trial")
        wait_for(lambda: service.metric("detections_total", source="trial") >= before + 3, 40)
        assert service.ready()
        for path in (small / "events-clips").glob("*.flac"):
            assert soundfile.info(path).frames > 0
        assert not list((small / "events-clips").glob("*.part"))
        for path in (small / "events-clips").glob("*.flac"):
            path.unlink()
        stored_before = service.metric("sink_events_total", sink="store", result="delivered")
        wait_for(
            lambda: (
                service.metric("sink_events_total", sink="store", result="delivered")
                > stored_before
            ),
            60,
        )
        service.kill()
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_a_damaged_store_is_moved_and_logged(daemon, rapid, tmp_path):
    (tmp_path / "events.db").write_bytes(b"SQLite format 3\0" + b"broken" * 999)
    service = daemon(trial(tmp_path, rapid))
    wait_for(lambda: service.said("the event store was damaged; moved to "))
    wait_for(lambda: len(stored(tmp_path)) >= 1, 30)
    (aside,) = tmp_path.glob("events.db.damaged-*")
    assert aside.read_bytes().endswith(b"broken")


def test_sighup_moves_the_store_and_keeps_the_old_one_if_the_new_is_bad(daemon, rapid, tmp_path):
    import signal

    service = daemon(trial(tmp_path, rapid))
    wait_for(lambda: len(stored(tmp_path)) >= 1, 30)
    (tmp_path / "file").write_text("not a folder")
    service.configure(trial(tmp_path, rapid).replace("events.db", "file/events.db"))
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: service.metric("config_reloads_total", result="bad") == 1)
    had = len(stored(tmp_path))
    wait_for(lambda: len(stored(tmp_path)) > had, 30)
    (tmp_path / "new").mkdir()
    service.configure(trial(tmp_path / "new", rapid))
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: service.metric("config_reloads_total", result="good") == 1)
    wait_for(lambda: len(stored(tmp_path / "new")) >= 1, 30)
    assert service.metric("source_reconnects_total", source="trial") == 0
    assert service.stop() == 0


def test_redact_speech_keeps_only_the_second_of_the_shot(tmp_path):
    table = StoreTable(path=tmp_path / "events.db", redact_speech=True)
    storage = EventStorage(table, ClipsConfig(folder=tmp_path / "clips", min_free_bytes=0))
    storage.start(lambda *_: None)
    sound = np.linspace(-0.5, 0.5, 80_000, dtype=np.float32)
    for number, speech in enumerate((0.2, 0.8)):
        record = record_of(number)
        storage.store.add(record)
        storage.enqueue_clip(EventClip(record, sound, 16_000, 2.0, speech))
    wait_for(lambda: sum(storage.clip_results.values()) == 2)
    wait_for(lambda: len(storage.store.clips()) == 2)
    reader = StoreReader(table.path)
    whole, cut = reader.events(EventFilter())
    assert (whole.redacted, cut.redacted) == (False, True)
    samples, rate = soundfile.read(tmp_path / "clips" / f"{cut.event.id}.flac")
    assert len(samples) == rate
    assert np.abs(samples - sound[28_800:44_800]).max() < 1e-3
    assert cut.clip_onset_s == pytest.approx(0.2)
    picture = reader.spectrogram(cut.event.id)
    assert picture is not None
    assert len(picture.levels) <= 50
    assert storage.clip_results == {("gate", "kept"): 1, ("gate", "redacted"): 1}
    storage.close(2.0)


def test_an_output_can_get_incidents_only(daemon, rapid, tmp_path):
    out = tmp_path / "incidents.jsonl"
    second = rapid.with_name("second.wav")
    second.write_bytes(rapid.read_bytes())
    text = (
        "threshold = 0.6\nincident_gap_s = 1.5\n"
        f'[command]\nargv = ["/bin/sh", "-c", "cat >> {out}"]\nphase = "both"\n'
        'tells = "incidents"\n'
        f'[[sources]]\nname = "gate"\nfile = "{rapid}"\n'
        f'[[sources]]\nname = "yard"\nfile = "{second}"\n'
    )
    service = daemon(text, wait=False)
    assert service.process.wait(60) == 0
    incidents = records(out.read_bytes())
    schema = json.loads(
        (Path(__file__).parent.parent / "docs" / "incident.schema.json").read_text()
    )
    import jsonschema

    for record in incidents:
        jsonschema.validate(record, schema)
    assert [r["phase"] for r in incidents] == ["onset", "final"]
    assert incidents[0]["id"] == incidents[1]["id"]
    events = [e for e in service.events() if e["phase"] == "final"]
    assert incidents[1]["events"] == len(events) == 2
    assert sorted(incidents[1]["sources"]) == ["gate", "yard"]
    assert incidents[1]["rounds"] == sum(e["rounds"] for e in events)


steps = st.lists(
    st.tuples(st.sampled_from(["gate", "yard"]), st.booleans(), st.floats(0.0, 20.0)), max_size=40
)


@settings(max_examples=200, deadline=None)
@given(steps)
def test_every_event_belongs_to_one_incident_with_an_onset_and_a_final_record(steps):
    at, now, incidents, seen = 0.0, None, [], 0
    pending: dict[str, dict] = {}
    number = 0
    for source, final, wait in steps:
        at += wait
        if incident.is_over(now, at, 5.0):
            assert now is not None
            incidents.append(now.record("final"))
            now = None
        if final and source in pending:
            line = {**pending.pop(source), "phase": "final"}
        elif source not in pending:
            number += 1
            line = {**record_of(number, source), "phase": "onset"}
            pending[source] = line
            seen += 1
        else:
            continue
        now, begun = incident.add_event(now, line, at)
        if begun:
            incidents.append(begun)
    if now is not None:
        incidents.append(now.record("final"))
    assert [r["phase"] for r in incidents] == ["onset", "final"] * (len(incidents) // 2)
    assert sum(r["events"] for r in incidents if r["phase"] == "final") == seen
    assert len({r["id"] for r in incidents}) == len(incidents) // 2
