"""`streamdet tune`: thresholds from recordings, their intervals, and what the command prints."""

import json
import math
import tomllib

import numpy as np
import pytest
import soundfile
from conftest import streamdet
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet import demo
from streamdet.constants import RATE
from streamdet.detection import background, rate_interval
from streamdet.detection.background import COUNT, LOWEST, STEP, BackgroundConfig, logit, sigmoid
from streamdet.detection.false_alarm_rate import DAY_S, TailConfig, expected_per_day
from streamdet.detection.rate_interval import Parts
from streamdet.model import bundle as bundles
from streamdet.pipeline.budget_threshold import set_up_budget
from streamdet.pipeline.recorded_background import FileScores, RecordedBackground
from streamdet.pipeline.tuning import Tuning, tune

CONFIG = BackgroundConfig(0.04, half_life_s=math.inf)
TAIL = TailConfig(lowest=-1.0)


def simulate(seed, hours, per_hour, scale=1.0, cluster=1):
    """Parts of recordings whose events come in bursts of ``cluster`` within ten minutes, with
    exponential excesses over logit -1."""
    rng, minutes = np.random.default_rng(seed), round(60 * hours)
    bursts = rng.uniform(0, minutes, rng.poisson(per_hour / cluster * hours))
    at = np.repeat(bursts, cluster) + rng.uniform(
        0, 10 if cluster > 1 else 0, len(bursts) * cluster
    )
    above = np.ceil((rng.exponential(scale, len(at)) - 1.0 - LOWEST) / STEP).astype(int)
    starts = np.zeros((minutes, COUNT))
    for minute, levels in zip(at.astype(int) % minutes, above, strict=True):
        starts[minute, :levels] += 1
    return Parts(starts, np.full(minutes, 60.0))


def interval_of(parts):
    return rate_interval.estimate_interval(CONFIG, TAIL, parts)


def tuning_of(parts):
    setup = set_up_budget(bundles.load(), 1.0 / DAY_S)
    return Tuning(setup, CONFIG, parts, np.zeros(0), interval_of(parts))


def is_covered(parts, per_hour, budget, scale=1.0):
    """Whether the true rate at the recommended threshold lies within its interval."""
    cost = tuning_of(parts).cost(budget)
    excess = float(logit(cost.threshold.value)) + 1.0
    true = 24.0 * per_hour * math.exp(-excess / scale)
    return cost.per_day.low <= true <= cost.per_day.high


@given(
    seed=st.integers(0, 1_000),
    hours=st.floats(0.1, 50.0),
    per_hour=st.floats(0.0, 200.0),
    budgets=st.lists(st.floats(1e-7, 0.1), min_size=2, max_size=8),
)
@settings(max_examples=20, deadline=None)
def test_a_larger_budget_never_gives_a_higher_threshold(seed, hours, per_hour, budgets):
    tuning = tuning_of(simulate(seed, hours, per_hour))
    costs = [tuning.cost(budget) for budget in sorted(budgets)]
    for values in zip(*(cost.threshold for cost in costs), strict=True):
        assert list(values) == sorted(values, reverse=True)
    for values in zip(*(cost.per_day for cost in costs), strict=True):
        assert list(values) == sorted(values)
    assert [cost.observed for cost in costs] == sorted(cost.observed for cost in costs)
    for cost in costs:
        assert cost.threshold.low <= cost.threshold.value <= cost.threshold.high
        assert cost.per_day.low <= cost.per_day.value <= cost.per_day.high


@pytest.mark.parametrize(
    ("hours", "per_hour", "cluster", "budget"),
    [
        (10, 30, 1, 1 / 3_600),
        (10, 30, 1, 1 / DAY_S),
        (3, 1, 1, 1 / DAY_S),
        (40, 60, 8, 1 / 3_600),
        (40, 60, 8, 1 / DAY_S),
    ],
)
def test_the_interval_has_the_true_rate(hours, per_hour, cluster, budget):
    """At 27 of 30 places or more: the interval is one of 95 %."""
    parts = (simulate(seed, hours, per_hour, cluster=cluster) for seed in range(30))
    assert sum(is_covered(p, per_hour, budget) for p in parts) >= 27


def test_events_in_bursts_tell_less_than_as_many_single_ones():
    single, bursts = (interval_of(simulate(3, 40, 60, cluster=size)) for size in (1, 12))
    assert single.dispersion < 2.0 < bursts.dispersion
    widths = [
        math.log(expected_per_day(known.high, 0.9) / expected_per_day(known.low, 0.9))
        for known in (single, bursts)
    ]
    assert widths[1] > 1.4 * widths[0]


def test_the_hours_needed_give_an_interval_of_a_factor_of_two():
    known = interval_of(simulate(0, 5, 30))
    at = sigmoid(4.0)
    hours = rate_interval.hours_needed(CONFIG, TAIL, known, at)
    assert hours > 5
    more = interval_of(simulate(1, hours, 30))
    ratio = expected_per_day(more.high, at) / expected_per_day(more.low, at)
    assert 2.5 < ratio < 6.0
    stricter = rate_interval.hours_needed(CONFIG, TAIL, known, at, factor=1.5)
    assert stricter > 1.5 * hours


def test_labelled_seconds_are_not_background_and_files_share_a_part():
    quiet = np.full(250, sigmoid(-6.0), np.float32)
    loud = quiet.copy()
    loud[100:110] = loud[200:210] = 0.9
    recorded = RecordedBackground(BackgroundConfig(0.04))
    for _ in range(30):
        scores = FileScores()
        scores.add(0.0, 0.04, loud)
        recorded.add_file(scores, [(3.9, 4.1), (99.0, 99.5)])
    parts = recorded.parts()
    level = round(-LOWEST / STEP)
    assert parts.starts[:, level].sum() == 30  # the second sound of each file
    assert parts.seconds.sum() == pytest.approx(30 * 8) == recorded.seconds
    assert len(parts.seconds) == 8
    assert recorded.shot_scores() == pytest.approx([0.9, 0.0] * 30)


@given(cuts=st.lists(st.integers(0, 3_000), max_size=6), gap=st.sampled_from([0.0, 2.0]))
@settings(max_examples=20, deadline=None)
def test_any_chunking_of_a_file_gives_the_same_background(cuts, gap):
    rng = np.random.default_rng(5)
    scores = rng.random(3_000).astype(np.float32) ** 8
    halves = [(0.0, scores[:1_500]), (60.0 + gap, scores[1_500:])]

    def count(pieces):
        recorded, file = RecordedBackground(BackgroundConfig(0.04)), FileScores()
        for start_s, piece in pieces:
            file.add(start_s, 0.04, piece)
        recorded.add_file(file, [(70.0, 71.0)])
        return recorded.parts()

    pieces = []
    for start_s, half in halves:
        at = 0
        for part in np.split(half, sorted(cut % 1_500 for cut in cuts)):
            pieces.append((start_s + at * 0.04, part))
            at += len(part)
    for a, b in zip(count(halves), count(pieces), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_background_without_any_event_has_an_upper_limit():
    """None in 10 hours: with 95 %, at most about 2.5 of them."""
    parts = Parts(np.zeros((600, COUNT)), np.full(600, 60.0))
    known = interval_of(parts)
    assert known.dispersion == 1.0
    at = int((-1.0 - LOWEST) / STEP)
    assert known.high.rates[at] * 36_000 == pytest.approx(2.5, rel=0.15)
    assert known.low.rates[at] < known.median.rates[at] < 0.5 / 36_000
    assert np.all(np.diff(known.high.rates) <= 0.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory, scene):
    """A folder with half a minute of noise and the demo's scene with three labelled events."""
    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(1)
    noise = 0.01 * rng.standard_normal(30 * RATE).astype(np.float32)
    soundfile.write(folder / "noise.flac", noise, RATE)
    soundfile.write(folder / "scene.wav", scene, RATE, subtype="PCM_16")
    rows = [f"{a},{a + 0.8},scene.wav\n" for a in demo.ONSETS_S]
    folder.with_suffix(".csv").write_text("onset_s,offset_s,file\n" + "".join(rows))
    return folder


def test_recordings_with_labels_give_a_table_lines_and_recall(place, tmp_path):
    labels, lines = place.with_suffix(".csv"), tmp_path / "threshold.toml"
    listed = tmp_path / "list.txt"
    listed.write_text(f"{place}\n")
    args = ("tune", "--list", listed, "--labels", labels, "--write", lines)
    done = streamdet(*args, "--false-alarms", "2/h")
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    out = done.stdout.decode()
    assert out.startswith("42 s of background in 2 recordings, ")
    table = [line.split() for line in out.split("\n\n")[1].splitlines()]
    assert [row[0] for row in table] == ["budget", "6/hour", "2/h", "1/hour", "1/day", "1/week"]
    assert table[0][-2:] == ["observed", "recall"]
    assert [row[-2] for row in table[1:]] == ["0"] * 5
    assert out.endswith(lines.read_text())
    assert tomllib.loads(lines.read_text()) == {"false_alarms": "2/h"}
    threshold = float(lines.read_text().splitlines()[-1].removeprefix("# threshold = "))
    found = streamdet("file", place / "scene.wav", "--threshold", table[1][1], "--labels", labels)
    assert f"recall {float(table[1][-1]):.2f}" in found.stderr.decode()
    assert f"2/h: threshold {threshold:.4f}." in out
    again = streamdet(*args)
    assert again.returncode == 2
    assert (
        again.stderr.decode() == f"streamdet: --write {lines}: exists. Use --force to replace it\n"
    )
    assert streamdet("config", "check", "--config", lines).returncode == 0


def test_without_labels_all_sounds_are_false_alarms(place, tmp_path):
    pictures = tmp_path / "rates.png", tmp_path / "rates.svg"
    lines = tmp_path / "threshold.toml"
    lines.write_text("old")
    done = streamdet("tune", place, "--json", "--plot", pictures[0], "--write", lines, "--force")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["toml"] == lines.read_text()
    assert shown["recordings"] == 2
    assert shown["shots"] is None
    assert shown["hours"] == pytest.approx(50 / 3_600, rel=0.03)
    assert shown["events"] == 3
    low, high = shown["false_alarms_per_day_interval"]
    assert low <= shown["false_alarms_per_day"] <= high
    low, high = shown["threshold_interval"]
    assert low <= shown["threshold"] <= high
    rates = [row["false_alarms_per_day"] for row in shown["budgets"]]
    assert rates == sorted(rates, reverse=True)
    assert shown["hours_for_factor_two"] > shown["hours"]
    assert {len(values) for values in shown["curve"].values()} == {background.COUNT}
    assert pictures[0].read_bytes().startswith(b"\x89PNG")
    done = streamdet("tune", place / "noise.flac", "--plot", pictures[1], "--model", "tiny")
    assert done.returncode == 0, done.stderr
    assert b"recall" not in done.stdout
    assert "95 % interval of the threshold" in pictures[1].read_text()


def test_damaged_files_are_named_and_the_others_count(place, tmp_path):
    whole = (place / "scene.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    done = streamdet("tune", tmp_path, place, "--json")
    assert done.returncode == 3
    assert done.stderr.decode().startswith(f"streamdet: {tmp_path}/cut.wav: ")
    shown = json.loads(done.stdout)
    assert shown["recordings"] == 3
    assert shown["hours"] == pytest.approx(60 / 3_600, rel=0.05)
    (tmp_path / "text.wav").write_text("no audio")
    done = streamdet("tune", tmp_path / "text.wav", tmp_path / "gone.wav", place / "noise.flac")
    assert done.returncode == 2
    assert [line.split(": ")[1] for line in done.stderr.decode().splitlines()] == [
        str(tmp_path / "gone.wav"), str(tmp_path / "text.wav"),
    ]  # fmt: skip
    assert done.stdout.decode().startswith("30 s of background in 1 recording, ")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "no input. Give files, folders, globs or URLs, or --list FILE"),
        (("HERE/gone",), "HERE/gone: No such file or directory"),
        (("PLACE", "--false-alarms", "often"), "--false-alarms: 'often' is not a budget"),
        (("PLACE", "--plot", "HERE/x.pdf"), "--plot HERE/x.pdf: unknown format. Use .png or .svg"),
        (("PLACE", "--write", "HERE/no/x.toml"), "--write HERE/no/x.toml: no such folder"),
        (("PLACE", "--channels", "each"), "--channels each: tune one channel at a time"),
        (("PLACE", "--labels", "HERE/no.csv"), "--labels HERE/no.csv: No such file or directory"),
    ],
)
def test_a_mistake_is_one_line(place, tmp_path, args, message):
    names = {"PLACE": str(place), "HERE": str(tmp_path)}
    for name, path in names.items():
        args, message = [arg.replace(name, path) for arg in args], message.replace(name, path)
    done = streamdet("tune", *args)
    assert done.returncode == 2
    assert done.stderr.decode().startswith(f"streamdet: {message}")
    assert done.stderr.count(b"\n") == 1
    assert done.stdout == b""
    assert not list(tmp_path.iterdir())


def test_labels_of_other_files_are_pointed_out(place, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("onset_s,file\n4.2,other.wav\n")
    done = streamdet("tune", place / "noise.flac", "--labels", labels)
    assert done.returncode == 0, done.stderr
    assert b"no label is of an analysed file. The first one is of other.wav" in done.stderr
    labels.write_text("onset_s,offset_s\n0,60\n")
    done = streamdet("tune", place / "noise.flac", "--labels", labels)
    assert done.returncode == 2
    assert b"no background to count" in done.stderr


def test_a_place_of_its_own_decides_alone(place):
    """The same recordings twice give the same estimate with a narrower interval."""
    setup = set_up_budget(bundles.load(), 1.0 / DAY_S)
    rng, widths = np.random.default_rng(2), []
    loud = np.where(rng.random(90_000) < 1e-3, 0.9 * rng.random(90_000), 0.01).astype(np.float32)
    for copies in (1, 3):
        recorded = RecordedBackground(setup.config.background)
        for _ in range(copies):
            scores = FileScores()
            scores.add(0.0, 0.04, loud)
            recorded.add_file(scores, [])
        cost = tune(setup, recorded).cost(20 / 3_600)
        widths.append(math.log(cost.per_day.high / cost.per_day.low))
        assert cost.per_day.value == pytest.approx(480, rel=0.01)
    assert widths[1] < 0.8 * widths[0]
