"""`streamdet locate`: recordings of several sensors to places."""

import csv
import io
import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from conftest import records, streamdet

from streamdet import synth
from streamdet.constants import RATE
from streamdet.locate.geometry import GeoPosition, speed_of_sound, to_geo, to_local

ORIGIN = GeoPosition(50.0, 8.0)
SENSORS = {
    "north": (0.0, 250.0),
    "east": (260.0, 10.0),
    "south": (20.0, -240.0),
    "west": (-250.0, 0.0),
}
SHOT = (60.0, -40.0)
AT_S, SECONDS = 1.5, 5.0


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Four recordings of a shot, with clocks that start at different times, and their sensors."""
    folder = tmp_path_factory.mktemp("site")
    rows, speed = [], speed_of_sound(20.0)
    blast = synth.muzzle_blast(np.random.default_rng(3))
    for i, (name, (x, y)) in enumerate(SENSORS.items()):
        rng = np.random.default_rng(i)
        samples = rng.normal(0.0, 1e-3, round(SECONDS * RATE))
        begins_s = 0.1 * i
        arrives_s = AT_S - begins_s + math.dist((x, y), SHOT) / speed
        at = round(arrives_s * RATE)
        samples[at : at + len(blast)] += 0.5 * blast
        soundfile.write(folder / f"{name}.flac", samples, RATE)
        geo = to_geo(np.array([x, y, 0.0]), ORIGIN)
        start = f"2026-05-01T12:00:{begins_s:06.3f}Z"
        rows.append((name, f"{name}.flac", start, geo.lat, geo.lon, x, y))
    header = ("sensor", "path", "start_utc", "lat", "lon", "x_m", "y_m")
    for name, skipped in (("geo.csv", ()), ("local.csv", ("lat", "lon"))):
        kept = [i for i, column in enumerate(header) if column not in skipped]
        with (folder / name).open("w", newline="") as sink:
            csv.writer(sink).writerows([[row[i] for i in kept] for row in (header, *rows)])
    return folder


def locate(site, *args, sensors="geo.csv"):
    return streamdet("locate", "--sensors", site / sensors, "--temperature", "20", *args)


def test_a_shot_is_located_in_space_and_time(site):
    done = locate(site)
    (record,) = records(done.stdout)
    place = to_local(GeoPosition(record["lat"], record["lon"]), ORIGIN)
    assert math.dist(place[:2], SHOT) < 4.0
    assert record["time"].startswith("2026-05-01T12:00:01.5") or record["time"].startswith(
        "2026-05-01T12:00:01.4"
    )
    assert set(record["sensors"]) == set(SENSORS)
    assert record["error_m"] >= record["ellipse"]["minor_m"] > 0.0
    (local,) = records(locate(site, sensors="local.csv").stdout)
    assert math.dist((local["x_m"], local["y_m"]), SHOT) < 4.0


def test_every_format_has_the_same_place(site):
    (record,) = records(locate(site).stdout)
    table = locate(site, "--format", "table").stdout.decode()
    assert str(record["lat"]) in table
    (row,) = csv.DictReader(io.StringIO(locate(site, "--format", "csv").stdout.decode()))
    assert float(row["lon"]) == record["lon"]
    assert set(row["sensors"].split()) == set(SENSORS)
    features = json.loads(locate(site, "--format", "geojson").stdout)["features"]
    assert features[0]["geometry"]["coordinates"] == [record["lon"], record["lat"]]
    ring = features[1]["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    sizes = [
        np.linalg.norm(to_local(GeoPosition(lat, lon), ORIGIN)[:2] - SHOT) for lon, lat in ring
    ]
    assert max(sizes) == pytest.approx(record["error_m"], abs=6.0)
    root = ElementTree.fromstring(locate(site, "--format", "kml").stdout)
    (point,) = root.iter("{http://www.opengis.net/kml/2.2}Point")
    assert "".join(point.itertext()).strip() == f"{record['lon']},{record['lat']}"


def test_three_recordings_are_enough_and_two_are_not(site):
    paths = [site / f"{name}.flac" for name in SENSORS]
    (record,) = records(locate(site, *paths[:3]).stdout)
    assert len(record["sensors"]) == 3
    done = locate(site, *paths[:2])
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert b"2 sensors can't locate a shot; three can" in done.stderr


def test_the_readable_part_of_a_damaged_recording_is_used(site, tmp_path):
    for path in site.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    whole = (site / "west.flac").read_bytes()
    (tmp_path / "west.flac").write_bytes(whole[: len(whole) * 9 // 10])
    done = locate(tmp_path)
    (record,) = records(done.stdout)
    assert set(record["sensors"]) == set(SENSORS)
    assert (done.returncode, done.stderr.count(b"\n")) == (3, 1)


def test_a_recording_that_cannot_be_read_is_one_line_and_the_others_are_used(site, tmp_path):
    for path in site.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "west.flac").write_bytes(b"nothing")
    done = locate(tmp_path)
    (record,) = records(done.stdout)
    assert set(record["sensors"]) == {"north", "east", "south"}
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)


@pytest.mark.parametrize(
    ("args", "sensors", "problem"),
    [
        ((), "none.csv", b"none.csv: No such file or directory"),
        (("--format", "kml"), "local.csv", b"has no lat and lon"),
        (("other.flac",), "geo.csv", b"other.flac: not among the recordings of"),
        (("--temperature", "99"), "geo.csv", b"--temperature"),
    ],
)
def test_bad_input_is_one_line(site, args, sensors, problem):
    done = streamdet("locate", "--sensors", site / sensors, *args)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert problem in done.stderr


def plan(site, *args, sensors="geo.csv"):
    return streamdet("locate", "plan", "--sensors", site / sensors, "--range", "600", *args)


def test_a_plan_says_where_shots_can_be_located_and_draws_it(site, tmp_path):
    done = plan(site, "--timing-ms", "5", "--plot", tmp_path / "a.png", "--geojson", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert "in range of 3 or more" in text
    (ratio,) = map(float, re.findall(r": (\d\.\d\d) times these errors", text))
    assert 0.7 < ratio < 1.3
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    features = json.loads((tmp_path / "a").read_text())["features"]
    assert {f["properties"].get("sensor") for f in features} == {*SENSORS, None}
    places = [f["properties"] for f in features if "error_m" in f["properties"]]
    assert min(p["sensors"] for p in places) == 3
    assert min(p["error_m"] for p in places) < 5.0


@pytest.mark.parametrize(
    ("args", "sensors", "problem"),
    [
        (("--geojson", "refused.json"), "local.csv", b"has no lat and lon"),
        (("--plot", "/nowhere/x.png"), "local.csv", b"/nowhere/x.png"),
        (("--plot", "map.xyz"), "local.csv", b"Use .png or .svg"),
        ((), "line.csv", b"on one line"),
        ((), "two.csv", b"2 sensors can't locate a shot"),
        (("--timing-ms", "0"), "geo.csv", b"--timing-ms"),
        ((), "none.csv", b"No such file"),
    ],
)
def test_bad_input_of_a_plan_is_one_line(site, args, sensors, problem):
    (site / "line.csv").write_text("sensor,x_m,y_m\na,0,0\nb,100,0\nc,300,0\n")
    (site / "two.csv").write_text("sensor,x_m,y_m\na,0,0\nb,100,90\n")
    done = plan(site, *args, sensors=sensors)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert problem in done.stderr
    assert not Path("refused.json").exists()
