"""Events, reviews and labels at the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import records, streamdet
from test_store import record_of

from streamdet.store.store import EventStore


@pytest.fixture
def filled(tmp_path) -> Path:
    path = tmp_path / "events.db"
    store = EventStore(path)
    for number in range(6):
        record = record_of(number, "yard" if number % 2 else "gate", 0.6 + number / 20)
        store.add(record, [(0.0, 0.7)])
    store.close()
    return path


def listed(path: Path, *options: str) -> list[dict]:
    done = streamdet("events", "list", "--store", path, *options)
    assert done.returncode == 0, done.stderr
    return records(done.stdout)


def test_events_are_listed_by_time_source_score_and_verdict(filled):
    every = listed(filled)
    assert [e["onset_s"] for e in every] == sorted(e["onset_s"] for e in every)
    assert {e["source"] for e in listed(filled, "--source", "yard")} == {"yard"}
    assert len(listed(filled, "--min-score", "0.7", "--max-score", "0.8")) == 3
    assert len(listed(filled, "--since", every[2]["time"], "--until", every[4]["time"])) == 2
    assert [e["id"] for e in listed(filled, "--limit", "2")] == [e["id"] for e in every[-2:]]
    assert listed(filled, "--verdict", "any") == []
    table = streamdet("events", "list", "--store", filled, "--format", "table").stdout.decode()
    assert len(table.splitlines()) == 7
    rows = streamdet("events", "list", "--store", filled, "--format", "csv").stdout.decode()
    assert rows.splitlines()[0].endswith("verdict,cause,note,reviewer")


def test_one_event_is_reviewed_by_options_and_shown_with_its_history(filled):
    event = listed(filled)[0]["id"]
    for verdict in (("false", "--cause", "door", "--note", "it banged"), ("true",)):
        done = streamdet("review", "--store", filled, "--event", event, "--verdict", *verdict,
                         "--reviewer", "ann")  # fmt: skip
        assert done.returncode == 0, done.stderr
    shown = json.loads(streamdet("events", "show", event, "--store", filled).stdout)
    assert [given["verdict"] for given in shown["reviews"]] == ["false", "true"]
    assert shown["reviews"][0]["note"] == "it banged"
    assert shown["review"]["reviewer"] == "ann"
    assert shown["curve"] == [[0.0, 0.7]]
    assert [e["id"] for e in listed(filled, "--verdict", "true")] == [event]


def test_old_events_are_deleted_or_only_counted(filled):
    done = streamdet("events", "prune", "--store", filled, "--keep", "4", "--dry-run")
    assert done.stdout == b"2 events would be deleted\n"
    assert len(listed(filled)) == 6
    done = streamdet("events", "prune", "--store", filled, "--keep", "4")
    assert done.stdout == b"2 events deleted\n"
    assert len(listed(filled)) == 4
    assert streamdet("events", "prune", "--store", filled, "--older-than", "1d").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["events", "list", "--store", "{no}"], "event store not found"),
        (["events", "list", "--store", "{text}"], "can't be read as an event store"),
        (["events", "list", "--store", "{db}", "--since", "soon"], "--since soon: not a time"),
        (["events", "show", "missing", "--store", "{db}"], "missing"),
        (["events", "prune", "--store", "{db}"], "give --older-than or --keep"),
        (["events", "export", "--store", "{db}"], "give either --dataset or --output"),
        (["events", "export", "--store", "{db}", "--output", "x.txt"], ".jsonl or .csv"),
        (["events", "export", "--store", "{db}", "--dataset", "{no}"], "no such folder of clips"),
        (["review", "--store", "{db}", "--event", "x"], "--event and --verdict"),
        (["review", "--store", "{db}", "--event", "x", "--verdict", "true"], "no event x"),
        (["review", "--store", "{db}", "--event", "x", "--verdict", "true", "--cause", "door"],
         "a cause is allowed only with"),
        (["review", "--store", "{db}"], "run it in a terminal"),
        (["review", "--store", "{db}", "--event", "x", "--verdict", "true", "--web", "h:1"],
         "--web and --event"),
        (["review", "--store", "{db}", "--event", "x", "--verdict", "maybe"],
         "verdict 'maybe': must be one of true, false, unsure"),
        (["review", "--store", "{db}", "--web", "0.0.0.0:1"], "only loopback addresses"),
        (["review", "--store", "{db}", "--web", "127.0.0.1:99999"],
         "--web 127.0.0.1:99999: must be HOST:PORT"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_code_2(filled, tmp_path, arguments, message):
    text = tmp_path / "text.db"
    text.write_text("no database, just text, and enough of it to fill a page" * 100)
    places = {"no": tmp_path / "no.db", "text": text, "db": filled}
    done = streamdet(*[a.format(**places) for a in arguments], cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1
    assert text.read_text().startswith("no database")


def test_a_review_in_a_terminal_takes_verdicts_by_key(filled):
    import pty

    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "streamdet", "review", "--store", filled, "--source", "yard"],
        stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    os.close(follower)
    os.write(leader, b"t\nf\nfire\nk\nn\nquite sure\nu\np\nj\n")
    out = process.communicate(timeout=60)[0].decode()
    os.close(leader)
    assert process.returncode == 0, out
    assert "3 events to review" in out
    assert "this event has no clip" in out
    reviews = [e["review"] for e in listed(filled, "--verdict", "any")]
    assert [r["verdict"] for r in reviews] == ["true", "unsure"]
    assert reviews[1]["note"] == "quite sure"


def test_labels_make_verdicts_and_count_false_positives(tmp_path, wav):
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "onset_s,offset_s,file\n4.2,4.5,scene.wav\n12.0,12.1,scene.wav\n9.5,,other.wav\n"
    )
    store = tmp_path / "events.db"
    done = streamdet("file", wav, "--threshold", "0.6", "--store", store, "--clips",
                     tmp_path / "events-clips", "--labels", labels)  # fmt: skip
    assert done.returncode == 0
    assert done.stderr.decode().splitlines() == [
        "streamdet: of 3 events 1 are true and 2 false positives; 1 of 2 labelled shots were "
        "missed; precision 0.33; recall 0.50; onset error 10 ms (median)",
        f"streamdet: {wav}: correct predictions 2 / 2, false positive windows 0",
    ]
    reviews = [e["review"] for e in listed(store)]
    assert [r["verdict"] for r in reviews] == ["true", "false", "false"]
    assert {r["reviewer"] for r in reviews} == {"labels"}
    assert all(e["clip"] for e in listed(store))
    audacity = tmp_path / "labels.txt"
    audacity.write_text("4.2\t4.5\tshot\n\\\t100\t200\n9.5\t10.4\tburst\n15.2\t15.6\t\n")
    done = streamdet("file", wav, "--threshold", "0.6", "--store", store, "--labels", audacity)
    assert b"of 3 events 3 are true and 0 false positives; 0 of 3 labelled" in done.stderr
    assert [e["review"]["verdict"] for e in listed(store)] == ["true"] * 3  # the same events
    labels.write_text("onset_s,file\n4.2,other.wav\n")
    done = streamdet("file", wav, "--labels", labels)
    assert b"no label is of an analysed file. The first one is of other.wav" in done.stderr
    table = streamdet("events", "list", "--store", store, "--format", "table").stdout.decode()
    assert table.splitlines()[1].startswith(" " * 24 + "      00:04.21")
    for text in ("onset_s\nsoon\n", "words\n", "1.0\tx\n"):
        audacity.write_text(text)
        done = streamdet("file", wav, "--labels", audacity)
        assert done.returncode == 2
        assert b", line " in done.stderr


def test_a_clip_has_the_event_in_its_tags(tmp_path, wav):
    import soundfile

    store, clips = tmp_path / "events.db", tmp_path / "events-clips"
    streamdet("file", wav, "--threshold", "0.6", "--store", store, "--clips", clips)
    event = listed(store)[1]
    with soundfile.SoundFile(clips / f"{event['id']}.flac") as clip:
        assert clip.title == event["id"]
        tagged = json.loads(clip.comment)
        assert tagged["onset_s"] == event["onset_s"]
        seconds = clip.frames / clip.samplerate
    assert seconds == pytest.approx(event["offset_s"] - event["onset_s"] + 5.0, abs=0.05)
