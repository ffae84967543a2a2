"""A place from arrival times, and incidents from the arrivals of many sensors."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streamdet.locate.arrival import pick_arrival
from streamdet.locate.coverage import estimate_coverage, expected_errors, simulate_error
from streamdet.locate.geometry import GeoPosition, distances, speed_of_sound, to_geo, to_local
from streamdet.locate.incidents import Arrival, LocateConfig, find_incidents
from streamdet.locate.multilateration import solve
from streamdet.locate.sensors import SensorError, read_sites

SENSORS = np.array([
    [0.0, 0.0, 5.0], [400.0, 30.0, 8.0], [380.0, 420.0, 3.0], [-20.0, 390.0, 6.0],
    [200.0, 600.0, 4.0],
])  # fmt: skip
SPEED = speed_of_sound(10.0)
CONFIG = LocateConfig(speed=SPEED)
places = st.tuples(st.floats(20.0, 380.0), st.floats(20.0, 380.0))


def arrivals_from(place, sensors=SENSORS, at_s=100.0, noise_s=0.0, seed=0, score=0.9):
    height = sensors[:, 2].mean()
    travel = distances(sensors, np.array([[*place, height]]))[0] / SPEED
    noise = np.random.default_rng(seed).normal(0.0, noise_s, len(sensors))
    return [
        Arrival(i, at_s + float(t) + float(n), 0.002, score)
        for i, (t, n) in enumerate(zip(travel, noise, strict=True))
    ]


def located(arrivals, sensors=SENSORS):
    (incident,) = find_incidents(CONFIG, sensors, arrivals)
    return incident


@given(places)
@settings(max_examples=30, deadline=None)
def test_exact_arrivals_give_the_exact_place_and_time(place):
    fix = located(arrivals_from(place)).fix
    assert math.hypot(fix.x_m - place[0], fix.y_m - place[1]) < 0.01
    assert fix.time_s == pytest.approx(100.0, abs=1e-4)


@given(
    place=places, angle=st.floats(0.0, 6.28), east=st.floats(-1e4, 1e4), later=st.floats(-1e5, 1e5)
)
@settings(max_examples=20, deadline=None)
def test_the_place_moves_and_turns_with_the_sensors_and_time_shifts_change_nothing(
    place, angle, east, later
):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = SENSORS.copy()
    moved[:, :2] = SENSORS[:, :2] @ turn.T + [east, -east]
    arrivals = arrivals_from(place, noise_s=0.004)
    one = located(arrivals).fix
    shifted = [a._replace(time_s=a.time_s + later) for a in arrivals]
    other = located(shifted, moved).fix
    expected = turn @ [one.x_m, one.y_m] + [east, -east]
    assert np.hypot(*(expected - [other.x_m, other.y_m])) < 0.05
    assert other.time_s - later == pytest.approx(one.time_s, abs=1e-3)
    assert other.ellipse.major_m == pytest.approx(one.ellipse.major_m, rel=0.01)


@given(
    place=st.tuples(st.floats(100.0, 300.0), st.floats(100.0, 300.0)),
    wrong=st.integers(0, 4),
    off_s=st.floats(1.0, 60.0),
    early=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_a_sensor_with_a_wrong_clock_is_left_out(place, wrong, off_s, early):
    arrivals = arrivals_from(place, noise_s=0.002)
    off = -off_s if early else off_s
    arrivals[wrong] = arrivals[wrong]._replace(time_s=arrivals[wrong].time_s + off)
    incident = located(arrivals)
    assert wrong not in {arrival.sensor for arrival in incident.arrivals}
    assert len(incident.arrivals) == 4
    assert math.hypot(incident.fix.x_m - place[0], incident.fix.y_m - place[1]) < 25.0


def test_the_ellipse_holds_the_place_as_often_as_it_says():
    place, hits, count = (150.0, 220.0), 0, 200
    config = LocateConfig(speed=SPEED, path_sigma_s=0.005)
    for seed in range(count):
        arrivals = arrivals_from(place, noise_s=math.hypot(0.005, 0.002), seed=seed)
        (incident,) = find_incidents(config, SENSORS, arrivals)
        error = np.array(place) - [incident.fix.x_m, incident.fix.y_m]
        hits += error @ np.linalg.solve(incident.fix.covariance, error) <= 5.991
    assert 0.90 <= hits / count <= 0.99


def test_two_incidents_at_once_are_kept_apart():
    sensors = np.concatenate([SENSORS, SENSORS + np.array([3_000.0, 0.0, 0.0])])
    one = arrivals_from((100.0, 100.0), noise_s=0.002)
    other = [
        a._replace(sensor=a.sensor + 5, time_s=a.time_s + 0.1)
        for a in arrivals_from((300.0, 250.0), noise_s=0.002)
    ]
    found = find_incidents(CONFIG, sensors, [*one, *other])
    xs = [incident.fix.x_m for incident in found]
    assert xs == pytest.approx([100.0, 3_300.0], abs=5.0)


def test_echoes_and_later_shots_of_a_burst_make_no_incidents_of_their_own():
    arrivals = []
    for shot in range(3):
        arrivals += arrivals_from((250.0, 120.0), at_s=100.0 + 0.9 * shot, seed=shot, noise_s=0.003)
    arrivals += [a._replace(time_s=a.time_s + 0.35, score=0.7) for a in arrivals[:5]]
    incident = located(arrivals)
    assert len(incident.arrivals) == 5
    assert len(incident.later) == 15


@given(st.lists(st.floats(0.0, 600.0), min_size=2, max_size=40), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_false_alarms_of_single_sensors_make_no_incident(times, seed):
    """Alarms further apart than sound travels between any two sensors."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(np.maximum(np.sort(np.diff(np.sort(times), prepend=0.0)), 3.0))
    sensors = rng.integers(0, 5, len(times))
    arrivals = [Arrival(int(i), float(t), 0.01, 0.9) for i, t in zip(sensors, times, strict=True)]
    assert find_incidents(CONFIG, SENSORS, arrivals) == []


def test_weak_arrivals_are_an_incident_if_enough_agree():
    weak = arrivals_from((200.0, 200.0), noise_s=0.002, score=0.4)
    assert len(located(weak).arrivals) == 5
    assert find_incidents(CONFIG, SENSORS, weak[:4]) == []
    strong = [a._replace(score=0.6) for a in weak[:3]]
    assert len(located(strong).arrivals) == 3
    faint = [a._replace(score=0.05) for a in weak]
    assert find_incidents(CONFIG, SENSORS, faint) == []
    assert len(located([*faint[:4], weak[4]._replace(score=0.95)]).arrivals) == 5


def test_what_three_sensors_cannot_tell_apart_is_said():
    sensors = np.array([[0.0, 0.0, 0.0], [300.0, 0.0, 0.0], [150.0, 60.0, 0.0]])
    arrivals = arrivals_from((150.0, 400.0), sensors)
    (incident,) = find_incidents(CONFIG, sensors, arrivals)
    assert incident.fix.ellipse.major_m > 50.0 or incident.fix.others


def test_sensors_on_one_line_or_too_few_are_an_error():
    line = np.array([[0.0, 0.0, 0.0], [100.0, 0.0, 0.0], [200.0, 0.0, 0.0]])
    times = np.array([0.1, 0.2, 0.3])
    start = np.array([[50.0, 50.0]])
    with pytest.raises(ValueError, match="one line"):
        solve(line, times, np.full(3, 0.01), SPEED, start)
    with pytest.raises(ValueError, match="three can"):
        solve(line[:2], times[:2], np.full(2, 0.01), SPEED, start)


@given(lat=st.floats(-80.0, 80.0), lon=st.floats(-180.0, 180.0), x=st.floats(-5e3, 5e3))
def test_local_coordinates_and_back(lat, lon, x):
    origin = GeoPosition(lat, lon, 100.0)
    there = to_geo(np.array([x, -x, 20.0]), origin)
    assume(abs(there.lat) <= 90.0)
    np.testing.assert_allclose(to_local(there, origin), [x, -x, 20.0], atol=1e-4)


def test_degrees_have_their_known_lengths():
    # a degree of latitude and of longitude at 45 degrees on the ellipsoid of WGS 84
    origin = GeoPosition(45.0, 0.0)
    assert to_local(GeoPosition(45.001, 0.0), origin)[1] == pytest.approx(111.132, abs=0.01)
    assert to_local(GeoPosition(45.0, 0.001), origin)[0] == pytest.approx(78.847, abs=0.01)
    with pytest.raises(ValueError, match="latitude 91"):
        to_local(GeoPosition(91.0, 0.0), origin)
    with pytest.raises(ValueError, match="longitude 181"):
        to_local(GeoPosition(0.0, 181.0), origin)


def test_the_speed_of_sound():
    assert speed_of_sound(0.0) == pytest.approx(331.3)
    assert speed_of_sound(20.0) == pytest.approx(343.2, abs=0.1)
    with pytest.raises(ValueError, match="air temperature"):
        speed_of_sound(500.0)


@pytest.mark.parametrize("rate", [12_000, 16_000, 48_000])
@pytest.mark.parametrize("offset_s", [-0.02, -0.01, 0.0, 0.01])
def test_an_arrival_is_picked_within_a_millisecond_or_two(rate, offset_s):
    rng = np.random.default_rng(1)
    samples = rng.normal(0.0, 0.003, rate).astype(np.float32)
    at = rate // 2
    samples[at : at + rate // 5] += (
        0.3 * rng.normal(size=rate // 5) * np.exp(-np.arange(rate // 5) / (0.02 * rate))
    )
    pick = pick_arrival(samples, rate, 0.5 + offset_s)
    assert pick.time_s == pytest.approx(0.5, abs=0.002)
    assert 0.001 <= pick.sigma_s < 0.01


def test_where_there_is_no_sound_the_onset_stands():
    pick = pick_arrival(np.zeros(16_000, np.float32), 16_000, 0.4)
    assert pick.time_s == 0.4
    assert pick.sigma_s > 0.05


def test_sensors_are_read_with_local_or_geographic_positions(tmp_path):
    path = tmp_path / "sensors.csv"
    path.write_text(
        "test,sensor,path,start_utc,x_m,y_m,z_m\n"
        "a,north,n.ogg,2018-12-19T00:49:27.500Z,1,2,3\n"
        "a,south,s.ogg,2018-12-19T00:49:27Z,-1,-2,\n"
        "b,north,m.ogg,2018-12-19T01:49:27,10,20,30\n"
    )
    sites = read_sites(path)
    assert set(sites) == {"a", "b"}
    assert sites["a"].positions["north"].tolist() == [1.0, 2.0, 3.0]
    assert sites["a"].positions["south"].tolist() == [-1.0, -2.0, 0.0]
    first, second = sites["a"].recordings
    assert first.path == tmp_path / "n.ogg"
    assert first.start_s - second.start_s == pytest.approx(0.5)
    path.write_text("sensor,lat,lon,height_m\ngate,52.5,13.4,30\nroof,52.5009,13.4,40\n")
    (site,) = read_sites(path).values()
    assert site.origin == GeoPosition(52.5, 13.4, 30.0)
    assert site.positions["roof"] == pytest.approx([0.0, 100.14, 10.0], abs=0.05)
    assert site.recordings == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sensor,x\na,1\n", "x_m and y_m, or lat and lon"),
        ("x_m,y_m\n1,2\n", "column sensor"),
        ("sensor,x_m,y_m\n", "no sensors"),
        ("sensor,x_m,y_m\na,1,2\na,300,2\n", "line 3: a has another position"),
        ("sensor,x_m,y_m\na,1,near\n", "line 2: y_m 'near' is not a number"),
        ("sensor,x_m,y_m\na,1,nan\n", "line 2: y_m 'nan' is not a number"),
        ("sensor,x_m,y_m\n,1,2\n", "line 2: the sensor has no name"),
        ("sensor,lat,lon\na,52,13\nb,95,13\n", "line 3: latitude 95"),
        ("sensor,x_m,y_m,path,start_utc\na,1,2,a.wav,noon\n", "start_utc 'noon' is not a time"),
        ("sensor,x_m,y_m,path\na,1,2,a.wav\n", "needs the column start_utc"),
        ("sensor,x_m,y_m\na,1,2\nb,1,2.1\n", "line 3: b has the position of a"),
        ("sensor,lat,lon\na,50,8\nb,50,80\n", "line 3: b is 51.. km from a"),
        (
            "sensor,x_m,y_m,path,start_utc\na,1,2,a.wav,2026-01-01T00:00:00Z\n"
            "b,9,2,a.wav,2026-01-01T00:00:00Z\n",
            "line 3: a.wav is in a line above",
        ),
    ],
)
def test_a_bad_file_of_sensors_is_one_line(tmp_path, text, problem):
    path = tmp_path / "sensors.csv"
    path.write_text(text)
    with pytest.raises(SensorError, match=problem) as error:
        read_sites(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_the_expected_error_is_that_of_simulated_shots():
    points = np.array([[200.0, 200.0, 5.0], [500.0, 100.0, 5.0], [-100.0, 150.0, 5.0]])
    counts, errors = expected_errors(SENSORS, points, 0.005, SPEED, 1_000.0)
    assert counts.tolist() == [5, 5, 5]
    for point, error in zip(points, errors, strict=True):
        simulated = simulate_error(SENSORS, point, 0.005, SPEED, 1_000.0, 200)
        assert simulated == pytest.approx(error, rel=0.3)


def test_a_plan_covers_all_places_in_range_and_knows_where_nothing_can_be_located():
    coverage = estimate_coverage(SENSORS, 0.005, SPEED, 300.0, 25.0)
    near = distances(SENSORS, coverage.points) <= 300.0
    assert coverage.sensors.tolist() == near.sum(axis=1).tolist()
    assert np.isinf(coverage.error_m[coverage.sensors < 3]).all()
    assert np.isfinite(coverage.error_m).any()
    assert math.prod(coverage.shape) == len(coverage.points)
    line = SENSORS.copy()
    line[:, 0] = 0.0
    on_line = estimate_coverage(line, 0.005, SPEED, 300.0, 25.0)
    x = on_line.points[:, 0]
    on_the_line = np.abs(x) < 1e-9
    assert on_the_line.any()
    assert np.isinf(on_line.error_m[on_the_line]).all()
    finer = estimate_coverage(SENSORS, 0.005, SPEED, 2_000.0, 0.5)
    assert len(finer.points) < 45_000
    assert finer.step_m > 0.5
