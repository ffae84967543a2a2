"""Sources that fail under a running daemon, with real servers: events before and after the fault
are right, other sources are not affected, and metrics and /readyz are true within seconds."""

import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import datetime, timedelta

import numpy as np
import pulse
import pytest
import soundfile
from conftest import need, wait_for
from daemons import Radio

from streamdet import demo
from streamdet.constants import RATE

SHOT_S = demo.ONSETS_S[0] - 3.5
"""Where the shot is in the fixture ``rapid``."""
OPERATOR = "threshold = 0.6\nstall_s = 3\nretry_first_s = 0.5\nretry_most_s = 2\n"


def onsets(daemon, source):
    """UTC seconds of the onsets of the source's verified events, as published."""
    finals = [e for e in daemon.events(source, "final") if e["verified"]]
    return [datetime.fromisoformat(e["time"]).timestamp() for e in finals]


def due(radio, first, last):
    """UTC seconds of the shots that a radio has played between two moments."""
    return [at for at in (began + SHOT_S for began in radio.began) if first <= at <= last]


def all_detected(daemon, source, expected, apart_s=0.5):
    detected = onsets(daemon, source)
    return all(any(abs(at - due_at) < apart_s for at in detected) for due_at in expected)


def in_two_hours() -> str:
    """A schedule that does not include the current time."""
    begins, ends = (datetime.now() + timedelta(hours=h) for h in (2, 3))
    return f"{begins:%H:%M}-{ends:%H:%M}"


def wait_until(moment):
    time.sleep(max(0.0, moment - time.time()))


def verified_events(service):
    return [e for e in service.events(phase="final") if e["verified"]]


def test_a_sound_server_that_is_killed_and_restarted(daemon, tmp_path, rapid):
    need("pulseaudio", "paplay")
    home = tmp_path / "pulse"
    home.mkdir()

    def play(env):
        subprocess.run(["paplay", "--device=virt", str(rapid)], env=env, check=True, timeout=60)

    with ExitStack() as stack:
        env, server = stack.enter_context(pulse.sound_server(home))
        service = daemon(OPERATOR + '[[sources]]\nname = "yard"\ndevice = "default"\n', env=env)
        play(env)
        wait_for(lambda: len(verified_events(service)) == 1)
        memory = service.memory
        server.send_signal(signal.SIGKILL)
        wait_for(lambda: service.page("/readyz")[0] == 503, 15)
        wait_for(lambda: service.metric("source_up", source="yard") == 0, 5)
        wait_for(
            lambda: (
                service.metric("source_state", source="yard", state="absent")
                or service.metric("source_state", source="yard", state="dead")
            )
        )
        assert service.page("/healthz")[0] == 200
    with pulse.sound_server(home) as (env, _):
        wait_for(service.ready, 20)
        play(env)
        wait_for(lambda: len(verified_events(service)) == 2)
    assert service.metric("source_reconnects_total", source="yard") >= 1
    times = onsets(service, "yard")
    steps = np.diff([e["onset_s"] for e in verified_events(service)])
    assert steps == pytest.approx(np.diff(times), abs=0.3)  # the gap keeps time right
    assert service.memory < memory + 10_000_000
    assert service.stop() == 0


def test_streams_that_are_cut_stall_or_change_do_not_disturb_others(daemon, rapid):
    sound, _ = soundfile.read(rapid, dtype="float32")
    with ExitStack() as stack:
        radios = {
            name: stack.enter_context(Radio(sound, (32_000, 44_100)))
            for name in ("well", "cut", "stalled", "changed")
        }
        tables = [f'[[sources]]\nname = "{n}"\nurl = "{r.url}"\n' for n, r in radios.items()]
        service = daemon(OPERATOR + "".join(tables))
        began = time.time()
        for name in radios:
            wait_for(lambda name=name: service.events(name, "final"))
        memory = service.memory
        cut_off = time.time()
        radios["cut"].cut = radios["stalled"].stalled = True
        radios["changed"].rate = 44_100
        for name in ("cut", "stalled"):
            wait_for(lambda name=name: service.metric("source_up", source=name) == 0, 10)
        wait_for(lambda: service.page("/readyz")[0] == 503, 5)
        _, words = service.page("/readyz")
        assert re.search(
            "^stalled: disconnected: .*no sample for 3 s; next try in", words, re.MULTILINE
        )
        assert "cut: disconnected" in words
        assert "\nwell: receiving audio" in words
        wait_for(lambda: service.metric("source_reconnects_total", source="changed") == 1)
        radios["stalled"].stalled = False
        wait_for(lambda: service.metric("source_up", source="stalled") == 1)
        radios["cut"].cut = False
        restored = time.time()
        wait_for(service.ready, 20)
        back = time.time()
        assert "the format changed to 44100 Hz" in service.err.read_text()
        # whatever was played while each was open, and the first whole round after it
        wait_until(back + 2 * radios["cut"].seconds + 1.0)
        now = time.time()
        for name, first in (("well", began), ("cut", back + 1), ("stalled", back + 1),
                            ("changed", back + 1)):  # fmt: skip
            expected = due(radios[name], first, now - 1.0)
            assert expected
            wait_for(lambda name=name, due=expected: all_detected(service, name, due), 5)
        assert service.metric("source_reconnects_total", source="well") == 0
        assert not [t for t in onsets(service, "cut") if cut_off + 1 < t < restored]
        assert service.memory < memory + 15_000_000
        assert service.stop() == 0
    for name in radios:
        ids = [e["id"] for e in service.events(name, "onset")]
        assert len(set(ids)) == len(ids)
        assert set(ids) == {e["id"] for e in service.events(name, "final")}


def test_a_silent_source_differs_from_one_that_is_missing(daemon, tmp_path):
    quiet = tmp_path / "quiet.wav"
    soundfile.write(quiet, np.zeros(160_000, np.float32), 16_000)
    service = daemon(
        'silence_s = 1\n[[sources]]\nname = "mute"\nloop = true\n'
        f'file = "{quiet}"\n'
        '[[sources]]\nname = "gone"\nrequired = false\nfile = "/nowhere.wav"\n'
        f'[[sources]]\nname = "night"\nfile = "{quiet}"\nactive = ["{in_two_hours()}"]\n'
    )
    assert service.metric("source_state", source="night", state="off") == 1
    wait_for(lambda: service.metric("source_state", source="mute", state="silent") == 1)
    assert service.metric("source_state", source="gone", state="absent") == 1
    assert service.metric("source_up", source="mute") == 1
    assert service.metric("input_rms_ratio", source="mute") == 0
    code, words = service.page("/readyz")
    assert code == 200
    assert "mute: no signal for" in words
    assert "gone: disconnected: /nowhere.wav: No such file or directory; next try in" in words


def test_overload_drops_the_oldest_counts_it_and_recovers(daemon, rapid):
    service = daemon(
        f'threshold = 0.6\nring_s = 2\n[[sources]]\nname = "trial"\nfile = "{rapid}"\nloop = true\n'
    )
    wait_for(lambda: len(verified_events(service)) >= 1)
    service.process.send_signal(signal.SIGSTOP)
    time.sleep(5)
    service.process.send_signal(signal.SIGCONT)
    wait_for(lambda: service.metric("dropped_audio_seconds_total", reason="backlog") > 2, 10)
    assert service.said("of audio were lost")
    wait_for(lambda: service.metric("backlog_seconds", source="trial") < 0.5)
    before = len(verified_events(service))
    wait_for(lambda: len(verified_events(service)) >= before + 3, 40)
    # events after the gap have the right time in the file
    for event in verified_events(service)[-3:]:
        assert event["onset_s"] % 2.5 == pytest.approx(SHOT_S, abs=0.15)


CLOCKED = """
import time, sys, pathlib
real, step = time.time, pathlib.Path(sys.argv.pop(1))
time.time = lambda: real() + float(step.read_text() or 0)
from streamdet.cli.main import run
run()
"""


def test_a_step_of_the_system_clock_is_logged_and_moves_no_event(daemon, tmp_path, scene):
    step, sound = tmp_path / "step", tmp_path / "two_shots.wav"
    step.write_text("0")
    soundfile.write(sound, scene[round(3.5 * RATE) : round(10.5 * RATE)], RATE)
    service = daemon(
        f'threshold = 0.6\n[[sources]]\nname = "trial"\nfile = "{sound}"\n',
        program=(sys.executable, "-c", CLOCKED, str(step)),
    )
    wait_for(lambda: service.events(phase="final"))
    step.write_text("-3600")
    assert service.process.wait(40) == 0
    assert service.said("the system clock was set by -3600")
    assert np.diff(onsets(service, "trial")) == pytest.approx(np.diff(demo.ONSETS_S[:2]), abs=0.1)
