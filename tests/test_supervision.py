"""The supervision of a source, step by step, without threads or clocks."""

from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet.daemon import supervision
from streamdet.daemon.supervision import RetryPolicy, SourceObservation, SourceState, backoff_s

POLICY = RetryPolicy(open_s=10, stall_s=5, first_retry_s=1, max_retry_s=60, silence_s=10)


def run(steps, policy=POLICY, jitter=0.0):
    """The conditions and actions of (now, observation) pairs."""
    condition, rows = supervision.initial_condition(0.0), []
    for now, observation in steps:
        condition, action = supervision.step(policy, condition, observation, now, jitter)
        rows.append((condition, action))
    return rows


def test_a_source_is_opened_at_once_and_receiving_with_its_first_samples():
    rows = run(
        [
            (0, SourceObservation()),
            (0.1, SourceObservation(opened=True)),
            (0.2, SourceObservation(opened=True, samples=5)),
        ]
    )
    assert [action for _, action in rows] == ["open", "nothing", "nothing"]
    assert [c.state for c, _ in rows] == [
        SourceState.opening,
        SourceState.opening,
        SourceState.receiving,
    ]
    assert rows[-1][0].not_receiving_since is None


def test_a_source_without_samples_for_stall_s_is_dead():
    samples = SourceObservation(opened=True, samples=5)
    rows = run([(0, SourceObservation()), (1, samples), (5.9, samples), (6.1, samples)])
    assert rows[2][1] == "nothing"
    assert rows[3][1] == "close"
    assert rows[3][0].state is SourceState.dead
    assert rows[3][0].fault == "no sample for 5 s"


def test_a_source_that_cannot_be_opened_is_absent_and_one_without_samples_dead():
    (_, (absent, action)) = run(
        [(0, SourceObservation()), (1, SourceObservation(fault="no such device"))]
    )
    assert (absent.state, action) == (SourceState.absent, "close")
    (_, (dead, _)) = run([(0, SourceObservation()), (11, SourceObservation(opened=True))])
    assert dead.state is SourceState.dead
    (_, (hangs, _)) = run([(0, SourceObservation()), (11, SourceObservation())])
    assert hangs.state is SourceState.absent


def test_silence_is_no_failure_and_ends_with_the_first_sound():
    steps = [
        (0, SourceObservation()),
        *((t, SourceObservation(opened=True, samples=t, silent=True)) for t in range(1, 13)),
    ]
    steps.append((13, SourceObservation(opened=True, samples=13)))
    states = [c.state for c, _ in run(steps)]
    assert states[10] is SourceState.receiving
    assert states[11] is SourceState.silent
    assert states[13] is SourceState.receiving


def test_a_schedule_closes_and_opens():
    sample = SourceObservation(opened=True, samples=1)
    off = SourceObservation(scheduled=False)
    rows = run(
        [(0, SourceObservation()), (1, sample), (2, off), (3, off), (4, SourceObservation())]
    )
    assert [a for _, a in rows] == ["open", "nothing", "close", "nothing", "open"]
    assert rows[2][0].state is SourceState.off


def test_the_backoff_grows_while_a_source_delivers_little_and_fails():
    condition, pauses, now = supervision.initial_condition(0.0), [], 0.0
    for _ in range(4):
        now = condition.retry_at
        for observation in (
            SourceObservation(),
            SourceObservation(opened=True, samples=1),
            SourceObservation(opened=True, samples=1, fault="x"),
        ):
            condition, _ = supervision.step(POLICY, condition, observation, now, 0.0)
            now += 0.1
        pauses.append(round(condition.retry_at - now + 0.1, 3))
    assert pauses == [1, 2, 4, 8]
    steps = [
        (SourceObservation(), 0),
        *((SourceObservation(opened=True, samples=n), n) for n in range(1, 13)),
    ]
    for observation, later in [*steps, (SourceObservation(opened=True, samples=12, fault="x"), 13)]:
        at = now + 10 + later
        condition, _ = supervision.step(POLICY, condition, observation, at, 0.0)
    assert condition.retry_at - at == 1


def test_a_source_that_has_ended_is_left_alone():
    rows = run(
        [
            (0, SourceObservation()),
            (1, SourceObservation(opened=True, samples=1, ended=True)),
            (99, SourceObservation()),
        ]
    )
    assert [a for _, a in rows] == ["open", "close", "nothing"]


@given(tries=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_the_backoff_doubles_up_to_a_maximum_and_jitter_halves_it_at_most(tries, jitter):
    pause = backoff_s(POLICY, tries)
    assert pause == min(60, 2.0 ** min(tries - 1, 32))
    condition = supervision.initial_condition(0.0)
    now = 0.0
    for _ in range(min(tries, 12)):
        now = condition.retry_at
        condition, action = supervision.step(POLICY, condition, SourceObservation(), now, jitter)
        assert action == "open"
        condition, action = supervision.step(
            POLICY, condition, SourceObservation(fault="x"), now, jitter
        )
        assert action == "close"
        pause = backoff_s(POLICY, condition.tries)
        assert pause / 2 - 1e-9 <= condition.retry_at - now <= pause + 1e-9  # rounding


OBSERVATIONS = st.builds(
    SourceObservation,
    scheduled=st.booleans(),
    opened=st.booleans(),
    samples=st.integers(0, 50),
    silent=st.booleans(),
    fault=st.none() | st.just("x"),
    permanent=st.booleans(),
    ended=st.booleans(),
)


@settings(max_examples=200)
@given(steps=st.lists(st.tuples(st.floats(0, 20), OBSERVATIONS, st.floats(0, 0.99)), max_size=60))
def test_every_source_is_open_due_off_or_ended(steps):
    """No source is forgotten, and an open one is closed before it is opened again."""
    condition, now, open_now = supervision.initial_condition(0.0), 0.0, False
    for pause, observation, jitter in steps:
        now += pause
        was = condition
        condition, action = supervision.step(POLICY, was, observation, now, jitter)
        assert (action == "open") <= (not open_now)
        assert (action == "close") <= open_now
        open_now = action == "open" or (open_now and action != "close")
        assert condition.open == open_now
        if condition.state in (SourceState.absent, SourceState.dead):
            assert condition.retry_at - now <= POLICY.max_retry_s + 1e-9  # rounding
            assert condition.not_receiving_since is not None
        if condition.receiving:
            assert now - condition.last_sample_at <= POLICY.stall_s
