"""Sources that fail under a running daemon, each on real parts: what comes before and behind is
right, the others are not touched, and metrics and /readyz tell the truth within seconds."""

import re
import signal
import subprocess
import time
from contextlib import ExitStack
from datetime import datetime, timedelta

import numpy as np
import pytest
import soundfile
from conftest import need, wait_for
from daemons import Radio

from benchmarks import pulse
from streamdet import demo

OPERATOR = "threshold = 0.6\nstall_s = 3\nretry_first_s = 0.5\nretry_most_s = 2\n"


def onsets(daemon, source):
    """UTC seconds of the source's onsets, as they were told."""
    return [datetime.fromisoformat(e["time"]).timestamp() for e in daemon.events(source, "onset")]


def due(radio, first, last):
    """UTC seconds of the shots that a radio has played whole between two moments."""
    played = [began + onset for began in radio.began for onset in demo.ONSETS_S]
    return [at for at in played if first <= at <= last]


def all_heard(daemon, source, expected, apart_s=0.5):
    heard = onsets(daemon, source)
    return all(any(abs(at - due_at) < apart_s for at in heard) for due_at in expected)


def in_two_hours() -> str:
    """A schedule that is not now."""
    begins, ends = (datetime.now() + timedelta(hours=h) for h in (2, 3))
    return f"{begins:%H:%M}-{ends:%H:%M}"


def wait_until(moment):
    time.sleep(max(0.0, moment - time.time()))


def test_a_sound_server_killed_and_begun_again(daemon, tmp_path, wav):
    need("pulseaudio", "paplay")
    home = tmp_path / "pulse"
    home.mkdir()

    def play(env):
        subprocess.run(["paplay", "--device=virt", str(wav)], env=env, check=True, timeout=60)

    with ExitStack() as stack:
        env, server = stack.enter_context(pulse.sound_server(home))
        ear = daemon(OPERATOR + '[[sources]]\nname = "yard"\ndevice = "default"\n', env=env)
        play(env)
        wait_for(lambda: len(ear.events(phase="final")) == 3)
        memory = ear.memory
        server.send_signal(signal.SIGKILL)
        wait_for(lambda: ear.page("/readyz")[0] == 503, 15)
        wait_for(lambda: ear.metric("source_up", source="yard") == 0, 5)
        wait_for(
            lambda: (
                ear.metric("source_state", source="yard", state="absent")
                or ear.metric("source_state", source="yard", state="dead")
            )
        )
        assert ear.page("/healthz")[0] == 200
    with pulse.sound_server(home) as (env, _):
        wait_for(ear.ready, 20)
        play(env)
        wait_for(lambda: len(ear.events(phase="final")) == 6)
    assert ear.metric("source_reconnects_total", source="yard") >= 1
    times = onsets(ear, "yard")
    steps = np.diff([e["onset_s"] for e in ear.events(phase="onset")])
    assert steps == pytest.approx(np.diff(times), abs=0.3)  # the gap keeps time right
    assert ear.memory < memory + 10_000_000
    assert ear.stop() == 0


def test_streams_that_are_cut_stall_or_change_while_others_go_on(daemon, scene):
    with ExitStack() as stack:
        radios = {
            name: stack.enter_context(Radio(scene, (32_000, 44_100)))
            for name in ("well", "cut", "stalled", "changed")
        }
        tables = [f'[[sources]]\nname = "{n}"\nurl = "{r.url}"\n' for n, r in radios.items()]
        ear = daemon(OPERATOR + "".join(tables))
        began = time.time()
        wait_until(began + 3.0)
        memory = ear.memory
        radios["cut"].cut = radios["stalled"].stalled = True
        radios["changed"].rate = 44_100
        for name in ("cut", "stalled"):
            wait_for(lambda name=name: ear.metric("source_up", source=name) == 0, 10)
        code, words = ear.page("/readyz")
        assert code == 503
        assert re.search("^stalled: dead: .*no sample for 3 s; next try in", words, re.MULTILINE)
        assert "cut: dead" in words or "cut: absent" in words
        assert "\nwell: hearing" in words
        wait_for(lambda: ear.metric("source_reconnects_total", source="changed") == 1)
        wait_until(began + 15.0)
        radios["stalled"].stalled = False
        wait_until(began + 33.0)
        radios["cut"].cut = False
        wait_for(ear.ready, 20)
        back = time.time()
        assert "its format changed to 44100 Hz" in ear.err.read_text()
        # whatever was played while each was open, and the first whole round behind it
        wait_until(back + radios["cut"].seconds + 1.0)
        now = time.time()
        for name, first in (("well", began), ("cut", back + 1), ("stalled", back + 1),
                            ("changed", back + 1)):  # fmt: skip
            expected = due(radios[name], first, now - 2.0)
            assert expected
            wait_for(lambda name=name, due=expected: all_heard(ear, name, due), 5)
        assert ear.metric("source_reconnects_total", source="well") == 0
        assert not [t for t in onsets(ear, "cut") if began + 6 < t < began + 32]
        assert ear.memory < memory + 15_000_000
        assert ear.stop() == 0
    for name in radios:
        ids = [e["id"] for e in ear.events(name, "onset")]
        assert len(set(ids)) == len(ids)
        assert set(ids) == {e["id"] for e in ear.events(name, "final")}


def test_silence_is_told_apart_from_a_source_that_is_not_there(daemon, tmp_path):
    quiet = tmp_path / "quiet.wav"
    soundfile.write(quiet, np.zeros(160_000, np.float32), 16_000)
    ear = daemon(
        'silence_s = 1\n[[sources]]\nname = "mute"\nloop = true\n'
        f'file = "{quiet}"\n'
        '[[sources]]\nname = "gone"\nrequired = false\nfile = "/nowhere.wav"\n'
        f'[[sources]]\nname = "night"\nfile = "{quiet}"\nactive = ["{in_two_hours()}"]\n'
    )
    assert ear.metric("source_state", source="night", state="off") == 1
    wait_for(lambda: ear.metric("source_state", source="mute", state="silent") == 1)
    assert ear.metric("source_state", source="gone", state="absent") == 1
    assert ear.metric("source_up", source="mute") == 1
    assert ear.metric("input_rms_ratio", source="mute") == 0
    code, words = ear.page("/readyz")
    assert code == 200
    assert "mute: silent for" in words
    assert "gone: absent: /nowhere.wav: No such file or directory; next try in" in words


def test_overload_drops_the_oldest_counts_it_and_recovers(daemon, tmp_path, wav):
    ear = daemon(
        f'threshold = 0.6\nring_s = 3\n[[sources]]\nname = "trial"\nfile = "{wav}"\nloop = true\n'
    )
    wait_for(lambda: len(ear.events(phase="final")) >= 1)
    ear.process.send_signal(signal.SIGSTOP)
    time.sleep(8)
    ear.process.send_signal(signal.SIGCONT)
    wait_for(lambda: ear.metric("dropped_audio_seconds_total", reason="backlog") > 3, 10)
    assert ear.said("of audio were lost")
    wait_for(lambda: ear.metric("backlog_seconds", source="trial") < 0.5)
    heard = len(ear.events(phase="final"))
    wait_for(lambda: len(ear.events(phase="final")) >= heard + 3, 40)
    # what is behind the gap lies where it lies in the file
    for event in ear.events(phase="final")[-3:]:
        assert min(abs(event["onset_s"] % 20 - onset) for onset in demo.ONSETS_S) < 0.15


CLOCKED = """
import time, sys, pathlib
real, step = time.time, pathlib.Path(sys.argv.pop(1))
time.time = lambda: real() + float(step.read_text() or 0)
from streamdet.cli.main import run
run()
"""


def test_a_step_of_the_clock_is_logged_and_moves_nothing(tmp_path, wav):
    step, out = tmp_path / "step", tmp_path / "out.jsonl"
    step.write_text("0")
    import sys

    command = [sys.executable, "-c", CLOCKED, str(step), "listen", "--file", str(wav),
               "--metrics", "off", "--threshold", "0.6", "--phase", "final"]  # fmt: skip
    with out.open("wb") as to, subprocess.Popen(command, stdout=to, stderr=subprocess.PIPE) as ear:
        wait_for(lambda: out.read_bytes().count(b"\n") == 1)
        step.write_text("-3600")
        assert ear.stderr is not None
        said = ear.stderr.read().decode()
        assert ear.wait(40) == 0
    assert "the clock was set by -3600" in said
    import json

    events = [json.loads(line) for line in out.read_bytes().splitlines()]
    times = [datetime.fromisoformat(e["time"]).timestamp() for e in events]
    assert np.diff(times) == pytest.approx(np.diff(demo.ONSETS_S), abs=0.1)
