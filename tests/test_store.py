"""The event store: no acknowledged write is lost, and queries agree with a plain list."""

import multiprocessing
import random
import sqlite3
import sys
import time
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet import sqlite
from streamdet.detection.event import Detection, Event, ModelId, event_id
from streamdet.model.spectrogram import Spectrogram, compute_spectrogram
from streamdet.store import schema
from streamdet.store.clips import ClipFolder
from streamdet.store.reader import EventFilter, StoreReader
from streamdet.store.store import ClipInfo, EventStore, StoreError, UnknownEventError
from streamdet.store.verdict import Verdict

MODEL = ModelId("trial", "1", "ab" * 32)
NOW = 1_795_000_000.0


def record_of(number: int, source: str = "gate", score: float = 0.9, at: float | None = None):
    unix_s = NOW + number if at is None else at
    onset = 16_000 * (number + 1)
    labels = {"gunshot": score, "speech": 0.2}
    d = Detection("final", onset, onset + 4_800, onset + 9_000, 2, score, 0.5, -20.0, labels)
    identifier = event_id(source, MODEL, onset, unix_s, 16_000)
    return Event(d, identifier, source, 16_000, unix_s, MODEL).record()


@pytest.fixture
def store(tmp_path):
    store = EventStore(tmp_path / "events.db", lambda: NOW + 500)
    yield store
    store.close()


@pytest.mark.parametrize(
    "stages", [{}, {"verified": True, "stage_score": 0.71}, {"verified": False, "stage_score": 0.6}]
)
def test_a_stored_event_is_read_back_unchanged(store, stages):
    record = Event.from_record({**record_of(1), **stages}).record()
    store.add(record, [(-0.1, 0.01), (0.0, 0.9)], "incident")
    (stored,) = StoreReader(store.path).events(EventFilter())
    assert stored.event.record() == record
    assert stored.curve == [(-0.1, 0.01), (0.0, 0.9)]
    assert (stored.incident, stored.verdict, stored.clip) == ("incident", None, False)


def test_a_final_record_replaces_the_onset_record_and_keeps_the_verdict(store):
    final = record_of(1)
    onset = {**final, "phase": "onset", "offset_s": None, "rounds": 1, "score": 0.6}
    store.add(onset)
    store.review(onset["id"], Verdict("false", "door"))
    store.add(final)
    store.add(onset)  # a late repetition changes nothing
    (stored,) = StoreReader(store.path).events(EventFilter())
    assert stored.event.record() == final
    assert (stored.verdict, stored.cause) == ("false", "door")


def test_every_verdict_on_an_event_stays_in_its_history_and_is_counted(store):
    record = record_of(1)
    store.add(record)
    for verdict in (
        Verdict("false", "door", "banged", "ann"),
        Verdict("false", "door"),
        Verdict("true", reviewer="bob"),
        Verdict("false", "thunder"),
    ):
        store.review(record["id"], verdict)
    reader = StoreReader(store.path)
    assert [given["verdict"] for given in reader.history(record["id"])] == [
        "false", "false", "true", "false",
    ]  # fmt: skip
    assert reader.history(record["id"])[0]["note"] == "banged"
    assert store.verdict_counts() == {
        ("gate", "review", "false"): 3,
        ("gate", "review", "true"): 1,
        ("gate", "false", "door"): 1,
        ("gate", "false", "thunder"): 1,
    }
    assert store.recent_verdicts(1.0) == {"gate": (0, 1)}
    with pytest.raises(UnknownEventError):
        store.review("nobody", Verdict("true"))


def test_a_verdict_is_one_of_three_and_only_a_false_one_has_a_cause():
    assert Verdict("false").cause == "other"
    for wrong in (("maybe", None), ("true", "door"), ("false", "ghost")):
        with pytest.raises(ValueError, match=r"verdict|cause"):
            Verdict(*wrong)


rows = st.lists(
    st.tuples(
        st.sampled_from(["gate", "yard", "ba'y; --"]),
        st.integers(0, 400),
        st.floats(0.5, 1.0),
        st.sampled_from([None, "true", "false", "unsure"]),
    ),
    max_size=25,
    unique_by=lambda row: (row[0], row[1]),
)


@settings(max_examples=25, deadline=None)
@given(rows, st.integers(1, 7), st.floats(0.5, 1.0), st.sampled_from([None, "none", "any", "true"]))
def test_pages_filters_and_counts_agree_with_a_plain_list(rows, size, least, verdict):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = EventStore(Path(folder) / "e.db", lambda: NOW + 500)
        for source, number, score, verdict_given in rows:
            record = record_of(number, source, score)
            store.add(record)
            if verdict_given is not None:
                store.review(record["id"], Verdict(verdict_given))
        reader = StoreReader(store.path)
        event_filter = EventFilter(source="gate", min_score=least, verdict=verdict)

        def fits(row) -> bool:
            given = {"none": row[3] is None, "any": row[3] is not None, "true": row[3] == "true"}
            return row[0] == "gate" and round(row[2], 4) >= least and given.get(verdict or "", True)

        expected = sorted((row[1] for row in rows if fits(row)), reverse=True)
        seen, before = [], None
        while True:
            page = reader.page(event_filter, size, before=before)
            seen += [round(e.time_s - NOW) for e in page.events]
            assert page.older == (len(seen) < len(expected))
            if not page.older:
                break
            before = (page.events[-1].time_s, page.events[-1].seq)
        assert seen == expected
        assert reader.count(event_filter) == len(expected)
        assert reader.sources() == sorted({row[0] for row in rows})
        counts = reader.score_counts(EventFilter())
        assert sum(sum(row[1:]) for row in counts) == len(rows)
        assert counts == sorted(counts)
        assert sum(day[1] for day in reader.counts_by_day(EventFilter())) == len(rows)
        prunable = store.prunable(max_events=5)
        assert len(prunable) == max(0, len(rows) - 5)
        assert sorted(store.prune(max_events=5)) == sorted(prunable)
        assert reader.count(EventFilter()) == min(5, len(rows))
        reader.close()
        store.close()


def test_pruning_deletes_all_of_an_event_but_not_its_counts(store):
    old, new = record_of(0, at=NOW - 10 * 86_400), record_of(1)
    for record in (old, new):
        store.add(record)
        store.review(record["id"], Verdict("false", "music"))
        store.attach(record["id"], ClipInfo(10, 2.0, 5.0, redacted=False))
    assert store.prune(days=5.0) == [old["id"]]
    assert list(store.clips()) == [new["id"]]
    assert StoreReader(store.path).history(old["id"]) == []
    assert store.verdict_counts()["gate", "false", "music"] == 2


def test_a_damaged_file_is_renamed_and_a_new_one_created(tmp_path):
    path = tmp_path / "events.db"
    path.write_bytes(b"SQLite format 3\0" + b"broken" * 500)
    (tmp_path / "events.db-wal").write_bytes(b"an old log")
    with pytest.raises(StoreError, match=r"events\.db"):
        EventStore(path, aside=False)
    store = EventStore(path)
    assert store.damaged_copy is not None
    assert store.damaged_copy.read_bytes().startswith(b"SQLite format 3\0broken")
    store.add(record_of(1))
    store.close()
    assert EventStore(path).damaged_copy is None


def test_a_file_of_a_later_version_is_refused_and_not_changed(tmp_path):
    path = tmp_path / "events.db"
    EventStore(path).close()
    with sqlite3.connect(path) as other:
        other.execute(f"PRAGMA user_version={len(schema.MIGRATIONS) + 1}")
    other.close()
    with pytest.raises(StoreError, match="later version"):
        EventStore(path)
    with pytest.raises(StoreError, match="later version"):
        StoreReader(path)
    assert [p.name for p in tmp_path.glob("*damaged*")] == []


def test_a_file_of_the_first_version_is_brought_up_to_date(tmp_path, monkeypatch):
    path = tmp_path / "events.db"
    with monkeypatch.context() as earlier:
        earlier.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        connection, _ = sqlite.open_database(path)
        schema.migrate(connection)
        connection.close()
    record = Event.from_record(
        {**record_of(1), "channel": "2", "verified": True, "stage_score": 0.5}
    ).record()
    with closing(EventStore(path)) as store:
        store.add(record)
    (stored,) = StoreReader(path).events(EventFilter())
    assert stored.event.record() == record


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "events.db"
    EventStore(path).close()
    later = ("ALTER TABLE events ADD COLUMN extra TEXT;\nSELECT nothing FROM nowhere;\n",)
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS + later)
    with pytest.raises(StoreError):
        EventStore(path)
    connection, _ = sqlite.open_database(path)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(events)")]
    assert "extra" not in columns
    connection.close()


def test_a_spectrogram_is_read_back_and_shows_where_the_sound_is(store):
    samples = np.zeros(32_000, np.float32)
    samples[16_000:17_600] = np.sin(np.arange(1_600) * 2 * np.pi * 1_000 / 16_000) * 0.5
    made = compute_spectrogram(samples, 16_000, 1.0)
    store.attach("x", spectrogram=made)
    back = StoreReader(store.path).spectrogram("x")
    assert isinstance(back, Spectrogram)
    assert np.array_equal(back.levels, made.levels)
    loudest = np.argmax(made.levels.sum(1)) * made.hop_s
    assert 0.95 < loudest < 1.15
    assert made.levels[:45].max() == 0


def write_until_killed(db: Path, clips: Path, number: int, acknowledge: Connection) -> None:
    store, folder = EventStore(db), ClipFolder(clips)
    sound = np.random.default_rng(1).uniform(-0.5, 0.5, 8_000).astype(np.float32)
    acknowledge.send(("ready", ""))
    while True:
        number += 1
        record = record_of(number)
        store.add(record)
        acknowledge.send(("event", record["id"]))
        store.review(record["id"], Verdict("false", "door"))
        acknowledge.send(("verdict", record["id"]))
        size = folder.write(record, sound, 16_000)
        store.attach(record["id"], ClipInfo(size, 0.1, 0.5, redacted=False))
        acknowledge.send(("clip", record["id"]))


def test_no_acknowledged_write_is_lost_by_two_hundred_kills(tmp_path):
    db, clips = tmp_path / "events.db", tmp_path / "clips"
    acknowledged: dict[str, set[str]] = {"event": set(), "verdict": set(), "clip": set()}
    chance = random.Random(7)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["hypothesis.strategies", "pytest", *sorted(
        name for name in sys.modules if name.startswith("streamdet.store")
    )])  # fmt: skip
    for run in range(200):
        receive, send = processes.Pipe(duplex=False)
        writer = processes.Process(target=write_until_killed, args=(db, clips, run * 10_000, send))
        writer.start()
        send.close()
        assert receive.recv() == ("ready", "")
        time.sleep(chance.uniform(0.0, 0.06))
        writer.kill()
        with suppress(EOFError):
            while True:
                kind, identifier = receive.recv()
                acknowledged[kind].add(identifier)
        receive.close()
        writer.join()
    store = EventStore(db)
    assert store.damaged_copy is None
    folder = ClipFolder(clips)
    folder.reconcile(store)
    events = {e.event.id: e for e in StoreReader(db).events(EventFilter())}
    assert len(acknowledged["event"]) > 200
    assert acknowledged["event"] <= events.keys()
    assert all(events[one].verdict == "false" for one in acknowledged["verdict"])
    assert all(events[one].clip for one in acknowledged["clip"])
    for clip in store.clips():
        samples, rate = soundfile.read(folder.path(clip))
        assert (len(samples), rate) == (8_000, 16_000)
    assert {p.stem for p in clips.iterdir()} == set(store.clips())
    assert not list(clips.glob("*.part"))
    reviewed = sum(e.verdict == "false" for e in events.values())
    assert store.verdict_counts()["gate", "review", "false"] == reviewed
    store.close()


times = st.floats(0, 100)


@given(st.lists(times, max_size=8), st.lists(times, max_size=8))
def test_matching_counts_every_event_and_every_label_once(found, truth):
    from streamdet.scoring.labels import ShotLabel
    from streamdet.scoring.matching import match_events

    spans = [(at, at + 0.3) for at in found]
    matched = match_events(spans, [ShotLabel(at, at + 0.1) for at in truth])
    assert len(matched.true) == len(spans)
    assert matched.found + matched.missed == len(truth)
    assert len(matched.onset_errors) == matched.found
    assert (matched.found > 0) == any(matched.true)
    assert all(-0.81 <= error <= 0.61 for error in matched.onset_errors)
    assert match_events([(t, t) for t in truth], [ShotLabel(t, t) for t in truth]).missed == 0
