"""`train data import`: copies of the public sets' layouts become data folders."""

import csv
import json
from functools import partial

import numpy as np
import pytest
import soundfile
from conftest import train

from streamdet.synth import muzzle_blast
from train.data import checks, labels
from train.data.importers import writer
from train.data.importers.clip import SourceClip
from train.data.importers.fsd50k import name_licence
from train.data.importers.sets import PublicSet
from train.data.table import read_rows

command = partial(train, "data")
BY, NC = (f"http://creativecommons.org/licenses/{kind}/3.0/" for kind in ("by", "by-nc"))
CC0 = "http://creativecommons.org/publicdomain/zero/1.0/"


def write_audio(path, seed, rate=44_100, channels=1, seconds=0.5):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.05 * np.random.default_rng(seed).standard_normal((round(seconds * rate), channels))
    soundfile.write(path, samples, rate)


def write_table(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as sink:
        csv.writer(sink).writerows(rows)


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def make_urbansound8k(folder):
    slices = [
        ("7061-6-0-0.wav", 7061, 0.0, 0.5, 1, 5, 6, "gun_shot"),
        ("7061-6-1-0.wav", 7061, 2.0, 2.5, 2, 5, 6, "gun_shot"),
        ("14113-4-0-0.wav", 14113, 0.0, 0.5, 1, 9, 4, "drilling"),
        ("24347-9-0-0.wav", 24347, 0.0, 0.5, 1, 10, 9, "street_music"),
        ("24347-9-0-9.wav", 24347, 0.0, 0.5, 1, 10, 9, "laser"),
    ]
    header = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
    write_table(folder / "metadata" / "UrbanSound8K.csv", header, *slices)
    for i, row in enumerate(slices):
        write_audio(folder / "audio" / f"fold{row[5]}" / row[0], i, 48_000, channels=2)


def make_esc50(folder):
    clips = [
        ("1-100032-A-0.wav", 1, 0, "dog", "True", 100032, "A"),
        ("1-100032-B-0.wav", 1, 0, "dog", "True", 100032, "B"),
        ("4-200000-A-12.wav", 4, 12, "crackling_fire", "True", 200000, "A"),
        ("5-300000-A-48.wav", 5, 48, "fireworks", "False", 300000, "A"),
    ]
    header = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    write_table(folder / "meta" / "esc50.csv", header, *clips)
    for i, row in enumerate(clips):
        write_audio(folder / "audio" / row[0], i)


def make_fsd50k(folder, licence=BY):
    dev = [
        ("11", "Gunshot_and_gunfire,Explosion", "/m/032s66,/m/014zdl", "train"),
        ("12", "Bird,Fireworks,Explosion,Wild_animals,Animal", "", "train"),
        ("13", "Explosion", "", "val"),
        ("14", "Mechanisms", "", "train"),
        ("15", "Speech,Human_voice", "", "val"),
    ]
    uploaders = {"11": "ann", "12": "ben", "13": "cleo", "14": "ann", "15": "ann", "16": "dan"}
    for part, header, rows in (
        ("dev", ("fname", "labels", "mids", "split"), dev),
        ("eval", ("fname", "labels", "mids"), [("16", "Piano,Music", "")]),
    ):
        write_table(folder / "FSD50K.ground_truth" / f"{part}.csv", header, *rows)
        infos = {
            row[0]: {
                "title": "x.wav", "description": "", "tags": ["x"], "license": licence,
                "uploader": uploaders[row[0]],
            }
            for row in rows
        }  # fmt: skip
        write_json(folder / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json", infos)
        for row in rows:
            write_audio(folder / f"FSD50K.{part}_audio" / f"{row[0]}.wav", int(row[0]))


def make_sesa(folder):
    names = ("train/gunshot_012", "train/casual_001", "train/explosion_003", "test/siren_004")
    for i, name in enumerate(names):
        write_audio(folder / f"{name}.wav", i, 16_000)


def make_shotspotter(folder):
    """One test with two shots: a sensor that reported both, and one that reported none."""
    test = folder / "data" / "PittsburghPA_DQV_2018-12-18" / "FP6" / "test_091"
    rate, rng = 12_000, np.random.default_rng(4)
    sound = 1e-3 * rng.standard_normal(3 * rate)
    for at in (1.0, 2.0):
        blast = muzzle_blast(rng, 0.25)[:2_400]
        sound[round(at * rate) :][: len(blast)] += blast
    silence = np.zeros(rate)
    for serial in ("SCP-00-BNG-0001", "SCP-00-BNG-0002"):
        stem = f"test_091.audio.{serial}"
        about = {
            "serial_number": serial, "timestamp": "2018-12-19T00:49:26.000Z",
            "location": {"x": 1.0, "y": 2.0, "z": 3.0}, "license": "CC BY 4.0",
        }  # fmt: skip
        write_json(test / f"{stem}.json", about)
        soundfile.write(test / f"{stem}.wav", np.concatenate([silence, sound, silence]), rate)
    pulses = [("a", 28.0), ("b", 29.0), ("echo", 29.4)]
    write_json(
        test / "test_091.allpulses.json",
        [
            {
                "pulse_uuid": uuid, "serial_number": "SCP-00-BNG-0001",
                "arrival_time_utc": f"2018-12-19T00:49:{second:06.3f}Z",
            }
            for uuid, second in pulses
        ],
    )  # fmt: skip
    shots = [{"shot_index": i, "pulse_uuids": [uuid]} for i, uuid in enumerate("ab")]
    write_json(test / "test_091.nlos-tuples.json", shots)
    write_json(test / "test_091.survey.json", {"test_id": 91, "firing_position": "FP6"})


def import_folder(name, make, tmp_path, **options):
    """Make a copy of a set and import it: the finished command, the folder and its rows by name."""
    make(tmp_path / name, **options)
    to = tmp_path / "to"
    done = command("import", name, tmp_path / name, to)
    assert done.returncode == 0, done.stderr
    rows = {r["path"].rpartition("/")[2]: r for r in checks.read_manifest(to)}
    return done, to, rows


def columns(row, *names):
    return tuple(row[name] for name in names)


def test_urbansound8k_is_imported_and_its_licence_is_refused(tmp_path):
    done, to, rows = import_folder("urbansound8k", make_urbansound8k, tmp_path)
    assert "clips of unknown classes, left out: laser 1" in done.stderr
    assert f"4 clips in {to}" in done.stdout
    shot = rows["7061-6-0-0.flac"]
    assert columns(shot, "split", "category", "label", "kind", "origin_group") == (
        "train", "gunshot", "gunshot", "unknown", "fs:7061",
    )  # fmt: skip
    assert columns(shot, "licence", "native_rate", "native_channels", "duration_s") == (
        "CC-BY-NC-3.0", "48000", "2", "0.500",
    )  # fmt: skip
    assert rows["14113-4-0-0.flac"]["split"] == "val"
    assert columns(rows["24347-9-0-0.flac"], "split", "category") == ("test", "music")
    check = command("check", "--data", to)
    assert check.returncode == 1
    assert check.stdout.count("'CC-BY-NC-3.0' does not allow use") == 4
    assert "4 serious, 0 minor" in check.stdout
    assert not (to / "events.csv").exists()


def test_esc50_keeps_both_of_its_licences(tmp_path):
    _, to, rows = import_folder("esc50", make_esc50, tmp_path)
    assert {r["licence"] for n, r in rows.items() if n[0] != "5"} == {"CC-BY-3.0"}
    assert columns(rows["5-300000-A-48.flac"], "label", "split", "licence") == (
        "fireworks", "test", "CC-BY-NC-3.0",
    )  # fmt: skip
    assert rows["1-100032-A-0.flac"]["origin_group"] == rows["1-100032-B-0.flac"]["origin_group"]
    free = command("select", tmp_path / "free", "--data", to, "--others", "--by", "clip",
                   "--having", "licence=CC-BY-NC-3.0")  # fmt: skip
    assert "3 clips" in free.stdout
    assert "licence" not in command("check", "--data", tmp_path / "free", "--no-sounds").stdout


def test_fsd50k_takes_the_most_telling_class_and_keeps_uploaders_apart(tmp_path):
    done, to, rows = import_folder("fsd50k", make_fsd50k, tmp_path)
    assert "clips of unknown classes, left out: Mechanisms 1" in done.stderr
    assert "clips moved to the split of the rest of their group: 1" in done.stderr
    assert {n: columns(r, "category", "label", "split") for n, r in rows.items()} == {
        "11.flac": ("gunshot", "gunshot", "val"),
        "12.flac": ("hard_negative", "fireworks", "train"),
        "13.flac": ("explosion", "explosion", "val"),
        "15.flac": ("speech", "speech", "val"),
        "16.flac": ("music", "piano", "test"),
    }
    assert columns(rows["11.flac"], "licence", "origin_group") == (
        "CC-BY-3.0", "freesound-user:ann",
    )  # fmt: skip
    check = command("check", "--data", to)
    assert (check.returncode, check.stdout) == (0, "no faults\n"), check.stderr


def test_the_licence_of_each_fsd50k_clip_is_checked(tmp_path):
    _, to, _ = import_folder("fsd50k", make_fsd50k, tmp_path, licence=NC)
    assert "'CC-BY-NC-3.0' does not allow use" in command("check", "--data", to).stdout
    sampling = "http://creativecommons.org/licenses/sampling+/1.0/"
    assert [name_licence(url) for url in (BY, CC0, sampling, "else")] == [
        "CC-BY-3.0", "CC0-1.0", "CC-SAMPLING+-1.0", "else",
    ]  # fmt: skip


def test_sesa_is_imported_by_file_name(tmp_path):
    _, to, rows = import_folder("sesa", make_sesa, tmp_path)
    assert {n: columns(r, "category", "label", "split") for n, r in rows.items()} == {
        "train-gunshot_012.flac": ("gunshot", "gunshot", "train"),
        "train-casual_001.flac": ("ambient", "casual", "train"),
        "train-explosion_003.flac": ("explosion", "explosion", "train"),
        "test-siren_004.flac": ("ambient", "siren", "test"),
    }
    assert command("check", "--data", to).stdout == "no faults\n"


def test_shotspotter_arrivals_become_events_after_the_cut(tmp_path):
    _, to, rows = import_folder("shotspotter", make_shotspotter, tmp_path)
    (row,) = rows.values()
    assert row["path"] == "audio/gunshot/pgh-FP6-test_091-SCP-00-BNG-0001.flac"
    assert columns(row, "split", "label", "kind", "origin_group", "native_rate", "duration_s") == (
        "val", "pistol", "field", "pgh:FP6", "12000", "3.000",
    )  # fmt: skip
    events = [(float(e["onset_s"]), float(e["offset_s"])) for e in read_rows(to / "events.csv")]
    np.testing.assert_allclose(events, [(1.0, 1.3), (2.0, 2.3)], atol=1e-3)
    samples, rate = soundfile.read(to / row["path"])
    for onset, _ in events:
        at = round(onset * rate)
        assert np.abs(samples[at : at + 800]).max() > 10 * np.abs(samples[at - 800 : at - 80]).max()
    assert command("check", "--data", to).stdout == "no faults\n"


def test_a_broken_and_a_missing_file_are_named_and_the_others_imported(tmp_path):
    folder, to = tmp_path / "sesa", tmp_path / "to"
    make_sesa(folder)
    (folder / "train" / "gunshot_013.wav").write_bytes(b"not a sound")
    soundfile.write(folder / "train" / "gunshot_014.wav", np.zeros(8_000), 16_000)
    done = command("import", "sesa", folder, to)
    assert done.returncode == 0
    assert "gunshot_013.wav: skipped: can't be decoded: " in done.stderr
    assert "gunshot_014.wav: skipped: digital silence" in done.stderr
    assert f"4 clips in {to}" in done.stdout
    make_esc50(tmp_path / "esc50")
    (tmp_path / "esc50" / "audio" / "5-300000-A-48.wav").unlink()
    done = command("import", "esc50", tmp_path / "esc50", tmp_path / "other")
    assert "missing files: 1, such as " in done.stderr
    assert "3 clips in " in done.stdout


def spoil_table(folder):
    (folder / "meta" / "esc50.csv").write_text("filename,fold\na.wav,1\n")


def spoil_fold(folder):
    path = folder / "meta" / "esc50.csv"
    path.write_text(path.read_text().replace(",5,48,", ",6,48,"))


def spoil_audio(folder):
    for path in (folder / "audio").iterdir():
        path.write_bytes(b"x")


def spoil_classes(folder):
    path = folder / "meta" / "esc50.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, rows[0].replace("dog", "unicorn")]))


@pytest.mark.parametrize(
    ("name", "make", "spoil", "says"),
    [
        ("urbansound8k", make_esc50, None, "UrbanSound8K.csv: no such file"),
        ("fsd50k", make_esc50, None, "dev.csv: no such file"),
        ("sesa", make_esc50, None, "train: no WAV files"),
        ("shotspotter", make_esc50, None, "no test_*.survey.json below it"),
        ("esc50", make_esc50, spoil_table, "esc50.csv: row 1 has no category"),
        ("esc50", make_esc50, spoil_fold, "unknown fold '6'"),
        ("esc50", make_esc50, spoil_audio, "no usable audio, such as "),
        ("esc50", make_esc50, spoil_classes, "no clip of a known class"),
        (
            "fsd50k",
            make_fsd50k,
            lambda d: write_json(d / "FSD50K.metadata" / "dev_clips_info_FSD50K.json", {}),
            "no uploader and license of clip 11",
        ),
        (
            "fsd50k",
            make_fsd50k,
            lambda d: (d / "FSD50K.metadata" / "dev_clips_info_FSD50K.json").write_text("{"),
            "can't be read",
        ),
        (
            "shotspotter",
            make_shotspotter,
            lambda d: write_json(next(d.rglob("*.survey.json")), {}),
            "lacks 'firing_position'",
        ),
        (
            "shotspotter",
            make_shotspotter,
            lambda d: [path.unlink() for path in d.rglob("*.wav")],
            "no audio that the metadata names, such as ",
        ),
    ],
)
def test_a_wrong_folder_is_one_line(name, make, spoil, says, tmp_path):
    make(tmp_path / "set")
    if spoil:
        spoil(tmp_path / "set")
    done = command("import", name, tmp_path / "set", tmp_path / "to")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert says in done.stderr
    assert not (tmp_path / "to" / "manifest.csv").exists()


def test_an_existing_folder_or_file_is_not_overwritten(data, tmp_path):
    before = (data / "manifest.csv").read_bytes()
    make_sesa(tmp_path)
    done = command("import", "sesa", tmp_path, data)
    assert done.returncode == 2
    assert "already a data folder" in done.stderr
    assert (data / "manifest.csv").read_bytes() == before
    done = command("import", "sesa", tmp_path, tmp_path / "train" / "gunshot_012.wav")
    assert (done.returncode, "can't be read or written" in done.stderr) == (2, True)
    done = command("import", "sesa", tmp_path / "nowhere", tmp_path / "to")
    assert (done.returncode, "nowhere: no such folder" in done.stderr) == (2, True)
    assert command("import", "esc51", tmp_path, tmp_path / "to").returncode == 2


def test_a_group_in_several_splits_goes_to_the_held_out_one(tmp_path):
    clips = [
        SourceClip(tmp_path, str(i), ("x",), split, "s", group, "CC0")
        for i, (split, group) in enumerate(
            [("train", "a"), ("val", "a"), ("test", "b"), ("val", "b"), ("train", "c")]
        )
    ]
    unified, moved = writer.unify_splits(clips)
    assert [c.split for c in unified] == ["val", "val", "test", "test", "train"]
    assert moved == 2


def test_the_table_of_classes_is_valid():
    rows = read_rows(writer.TABLE)
    assert {r["set"] for r in rows} == set(PublicSet)
    assert len({(r["set"], r["class"]) for r in rows}) == len(rows)
    for row in rows:
        assert row["category"] in checks.CATEGORIES
        assert row["label"]
        is_shot = labels.find_head(row["category"], row["label"]) == "gunshot"
        assert is_shot == (row["category"] == "gunshot") == bool(row["kind"])
    fsd50k = [r["class"] for r in rows if r["set"] == "fsd50k"]
    assert fsd50k.index("Fireworks") < fsd50k.index("Explosion"), "a class stands before its parent"
    assert fsd50k[0] == "Gunshot_and_gunfire"
