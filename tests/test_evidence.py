"""What a daemon keeps of its events, and what it counts of what was said of them."""

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


def test_a_clip_is_what_was_heard_from_before_the_onset_to_behind_the_end(daemon, wav, scene):
    ear = daemon(trial(wav.parent, wav, source=""))
    folder = wav.parent
    assert ear.process.wait(60) == 0
    events = [e for e in ear.events() if e["phase"] == "final"]
    kept = {e["id"]: e for e in stored(folder)}
    assert kept.keys() == {e["id"] for e in events}
    clips = clips_of(folder)
    assert clips.keys() == kept.keys()
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
    assert {e["incident"] for e in kept.values()} == {kept[events[0]["id"]]["incident"]}


def test_counts_of_reviews_outlive_the_daemon_whoever_gave_them(daemon, rapid, tmp_path):
    text = trial(tmp_path, rapid)
    ear = daemon(text)
    wait_for(lambda: ear.metric("clips_total", source="trial", result="kept") >= 2, 40)
    ids = [e["id"] for e in stored(tmp_path)]
    for event, verdict in zip(ids, (["true"], ["false", "--cause", "door"]), strict=False):
        done = streamdet("review", "--store", tmp_path / "events.db", "--event", event, "--verdict",
                         *verdict)  # fmt: skip
        assert done.returncode == 0, done.stderr
    said = {"source": "trial", "verdict": "false"}
    wait_for(lambda: ear.metric("reviews_total", **said) == 1, 5)
    assert ear.metric("false_positives_total", source="trial", cause="door") == 1
    assert ear.metric("precision_ratio", source="trial", window="24h") == 0.5
    assert ear.metric("reviewed_events", source="trial", window="30d") == 2
    assert ear.metric("clip_storage_bytes") > 10_000
    ear.kill()
    again = daemon(text, wait=False)
    first = wait_for(lambda: again.page("/metrics")[1], 40)
    assert 'streamdet_reviews_total{source="trial",verdict="false"} 1.0' in first
    assert 'streamdet_false_positives_total{cause="door",source="trial"} 1.0' in first
    streamdet("review", "--store", tmp_path / "events.db", "--event", ids[1], "--verdict", "true")
    wait_for(lambda: again.metric("precision_ratio", source="trial", window="24h") == 1.0, 10)
    assert again.metric("false_positives_total", source="trial", cause="door") == 1
    assert again.metric("reviews_total", source="trial", verdict="true") == 2


def test_what_is_beyond_the_limits_goes_and_the_events_stay(daemon, rapid, tmp_path):
    ear = daemon(trial(tmp_path, rapid, clips="max_bytes = 150000\npre_s = 0.5\npost_s = 0.5"))
    wait_for(lambda: ear.metric("clips_total", source="trial", result="kept") >= 8, 60)
    assert ear.metric("clip_storage_bytes") <= 150_000
    there = {p.stem: p.stat().st_size for p in (tmp_path / "events-clips").glob("*.flac")}
    assert sum(there.values()) <= 150_000
    assert len(stored(tmp_path)) > len(there)
    assert ear.stop() == 0


def test_a_disk_with_too_little_room_stops_clips_and_nothing_else(daemon, rapid, tmp_path):
    ear = daemon(trial(tmp_path, rapid, clips=f"min_free_bytes = {10**15}"))
    wait_for(lambda: ear.metric("clips_total", source="trial", result="no_room") >= 2, 40)
    assert ear.said("no clip is kept: ")
    assert clips_of(tmp_path) == {}
    assert len(stored(tmp_path)) >= 2
    assert ear.ready()
    assert ear.metric("sink_events_total", sink="store", result="failed") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_full_disk_stops_clips_and_the_store_goes_on_when_there_is_room(daemon, rapid, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", small], check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        ear = daemon(trial(small, rapid, clips="min_free_bytes = 0"))
        wait_for(lambda: ear.metric("errors_total", component="store") >= 1, 60)
        heard = ear.metric("detections_total", source="trial")
        wait_for(lambda: ear.metric("detections_total", source="trial") >= heard + 3, 40)
        assert ear.ready()
        for path in (small / "events-clips").glob("*.flac"):
            assert soundfile.info(path).frames > 0
        assert not list((small / "events-clips").glob("*.part"))
        for path in (small / "events-clips").glob("*.flac"):
            path.unlink()
        before = ear.metric("sink_events_total", sink="store", result="delivered")
        wait_for(
            lambda: ear.metric("sink_events_total", sink="store", result="delivered") > before, 60
        )
        ear.kill()
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_a_damaged_store_is_set_aside_and_told_of(daemon, rapid, tmp_path):
    (tmp_path / "events.db").write_bytes(b"SQLite format 3\0" + b"broken" * 999)
    ear = daemon(trial(tmp_path, rapid))
    wait_for(lambda: ear.said("the event store was damaged; it is "))
    wait_for(lambda: len(stored(tmp_path)) >= 1, 30)
    (aside,) = tmp_path.glob("events.db.damaged-*")
    assert aside.read_bytes().endswith(b"broken")


def test_sighup_moves_the_store_and_keeps_the_old_one_where_the_new_is_bad(daemon, rapid, tmp_path):
    import signal

    ear = daemon(trial(tmp_path, rapid))
    wait_for(lambda: len(stored(tmp_path)) >= 1, 30)
    (tmp_path / "file").write_text("not a folder")
    ear.configure(trial(tmp_path, rapid).replace("events.db", "file/events.db"))
    ear.process.send_signal(signal.SIGHUP)
    wait_for(lambda: ear.metric("config_reloads_total", result="bad") == 1)
    had = len(stored(tmp_path))
    wait_for(lambda: len(stored(tmp_path)) > had, 30)
    (tmp_path / "new").mkdir()
    ear.configure(trial(tmp_path / "new", rapid))
    ear.process.send_signal(signal.SIGHUP)
    wait_for(lambda: ear.metric("config_reloads_total", result="good") == 1)
    wait_for(lambda: len(stored(tmp_path / "new")) >= 1, 30)
    assert ear.metric("source_reconnects_total", source="trial") == 0
    assert ear.stop() == 0


def test_beside_speech_only_the_shot_s_second_is_kept(tmp_path):
    table = StoreTable(path=tmp_path / "events.db", redact_speech=True)
    evidence = EventStorage(table, ClipsConfig(folder=tmp_path / "clips", min_free_bytes=0))
    evidence.start(lambda *_: None)
    sound = np.linspace(-0.5, 0.5, 80_000, dtype=np.float32)
    for number, speech in enumerate((0.2, 0.8)):
        told = record_of(number)
        evidence.store.add(told)
        evidence._enqueue(EventClip(told, sound, 16_000, 2.0, speech))
    wait_for(lambda: sum(evidence.clip_results.values()) == 2)
    wait_for(lambda: len(evidence.store.clips()) == 2)
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
    assert evidence.clip_results == {("gate", "kept"): 1, ("gate", "redacted"): 1}
    evidence.close(2.0)


def test_an_output_can_be_told_of_incidents_alone(daemon, rapid, tmp_path):
    out = tmp_path / "told.jsonl"
    second = rapid.with_name("second.wav")
    second.write_bytes(rapid.read_bytes())
    text = (
        "threshold = 0.6\nincident_gap_s = 1.5\n"
        f'[command]\nargv = ["/bin/sh", "-c", "cat >> {out}"]\nphase = "both"\n'
        'tells = "incidents"\n'
        f'[[sources]]\nname = "gate"\nfile = "{rapid}"\n'
        f'[[sources]]\nname = "yard"\nfile = "{second}"\n'
    )
    ear = daemon(text, wait=False)
    assert ear.process.wait(60) == 0
    told = records(out.read_bytes())
    schema = json.loads(
        (Path(__file__).parent.parent / "docs" / "incident.schema.json").read_text()
    )
    import jsonschema

    for record in told:
        jsonschema.validate(record, schema)
    assert [r["phase"] for r in told] == ["onset", "final"]
    assert told[0]["id"] == told[1]["id"]
    events = [e for e in ear.events() if e["phase"] == "final"]
    assert told[1]["events"] == len(events) == 2
    assert sorted(told[1]["sources"]) == ["gate", "yard"]
    assert told[1]["rounds"] == sum(e["rounds"] for e in events)


steps = st.lists(
    st.tuples(st.sampled_from(["gate", "yard"]), st.booleans(), st.floats(0.0, 20.0)), max_size=40
)


@settings(max_examples=200, deadline=None)
@given(steps)
def test_every_event_is_of_one_incident_and_each_has_a_beginning_and_an_end(steps):
    at, now, told, seen = 0.0, None, [], 0
    pending: dict[str, dict] = {}
    number = 0
    for source, final, wait in steps:
        at += wait
        if incident.is_over(now, at, 5.0):
            assert now is not None
            told.append(now.record("final"))
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
            told.append(begun)
    if now is not None:
        told.append(now.record("final"))
    assert [r["phase"] for r in told] == ["onset", "final"] * (len(told) // 2)
    assert sum(r["events"] for r in told if r["phase"] == "final") == seen
    assert len({r["id"] for r in told}) == len(told) // 2
