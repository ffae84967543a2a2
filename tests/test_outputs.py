"""Outputs one by one: what they send, keep, and refuse."""

import hashlib
import hmac
import json
import sqlite3
import stat
import threading
import time

import pytest
from conftest import wait_for
from hypothesis import given, settings
from hypothesis import strategies as st
from test_faults_outputs import Hook

from streamdet.config.schema import CommandConfig, WebhookConfig
from streamdet.outputs.command import CommandOutput
from streamdet.outputs.jsonl import RotatingFileOutput
from streamdet.outputs.queue import Output, OutputError, OutputQueue
from streamdet.outputs.spool import Spool, SpooledOutputQueue, SpoolError
from streamdet.outputs.webhook import WebhookOutput


def record(number=0, phase="final", source='gate "A"'):
    return {"id": f"id-{number}", "phase": phase, "source": source, "time": None,
            "onset_s": 1.5, "offset_s": 2.0, "rounds": 2, "score": 0.9,
            "level_dbfs": -3.0}  # fmt: skip


@pytest.fixture
def hook():
    made = Hook()
    yield made
    made.close()


class Kept(Output):
    """Keeps records, or fails as it is told."""

    def __init__(self) -> None:
        self.got: list[dict] = []
        self.fault: OutputError | None = None

    def deliver(self, record) -> None:
        if self.fault is not None:
            raise self.fault
        self.got.append(record)


def test_a_webhook_is_signed_and_says_what_its_template_says(hook):
    told = WebhookConfig(url=hook.url, template='{"text": "$source, $rounds rounds, $$5, $time"}')
    WebhookOutput(told, hook.url, "k3y").deliver(record())
    ((headers, body),) = hook.got
    assert json.loads(body) == {"text": 'gate "A", 2 rounds, $5, null'}
    signed = headers["X-Streamdet-Timestamp"].encode() + b"." + body
    expected = hmac.new(b"k3y", signed, hashlib.sha256).hexdigest()
    assert headers["X-Streamdet-Signature"] == f"sha256={expected}"
    assert abs(int(headers["X-Streamdet-Timestamp"]) - time.time()) < 5
    assert headers["Idempotency-Key"] == "id-0-final"


@pytest.mark.parametrize(
    ("status", "final"), [(400, True), (404, True), (302, True), (408, False), (429, False),
                          (500, False), (503, False)],
)  # fmt: skip
def test_what_a_webhook_refuses_for_good_and_what_it_may_take_later(hook, status, final):
    hook.status = status
    output = WebhookOutput(WebhookConfig(url=hook.url), hook.url, None)
    with pytest.raises(OutputError, match=f"the answer was {status}") as raised:
        output.deliver(record())
    assert raised.value.final is final


def test_a_command_gets_the_event_and_no_shell(tmp_path, capfd):
    script, out = tmp_path / "on-gunshot", tmp_path / "out"
    script.write_text(f'#!/bin/sh\necho "$# $1"; cat > {out}\n')
    script.chmod(0o755)
    CommandOutput(CommandConfig(argv=(str(script), "$(reboot) ; *"))).deliver(record())
    assert json.loads(out.read_text()) == record()
    assert capfd.readouterr() == ("", "1 $(reboot) ; *\n")


@pytest.mark.parametrize(
    ("argv", "line"),
    [(("/nowhere/x",), "No such file"), (("false",), "exit code 1"), (("sleep", "9"), "not done")],
)
def test_a_command_that_fails_is_one_line_and_not_run_again(argv, line):
    with pytest.raises(OutputError, match=line) as raised:
        CommandOutput(CommandConfig(argv=argv, timeout_s=0.3)).deliver(record())
    assert raised.value.final


def test_a_file_is_set_aside_when_it_has_grown_and_half_a_line_is_mended(tmp_path):
    path = tmp_path / "deep" / "events.jsonl"
    output = RotatingFileOutput(path, 4_096, keep=2)
    for number in range(90):
        output.deliver(record(number))
    output.close()
    files = sorted(path.parent.iterdir())
    assert [f.name for f in files] == ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]
    assert all(f.stat().st_size <= 4_096 for f in files)
    kept = [json.loads(row)["id"] for f in reversed(files) for row in f.read_text().splitlines()]
    assert kept == [f"id-{n}" for n in range(90)][-len(kept) :]
    with path.open("ab") as file:
        file.write(b'{"id": "cut o')
    again = RotatingFileOutput(path, 1 << 20, keep=2)
    again.deliver(record(99))
    again.close()
    assert json.loads(path.read_text().splitlines()[-1])["id"] == "id-99"
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_a_full_queue_loses_its_oldest_and_counts_them():
    held = threading.Event()

    class Slow(Kept):
        def deliver(self, record) -> None:
            held.wait(20)
            super().deliver(record)

    output = Slow()
    box = OutputQueue("x", output, 3)
    box.start()
    box.offer(record(0))
    wait_for(lambda: not box._waiting)
    for number in range(1, 8):
        box.offer(record(number))
    assert box.length == 4
    held.set()
    assert box.close(5) == 0
    assert [r["id"] for r in output.got] == ["id-0", "id-5", "id-6", "id-7"]
    assert box.counts == {"delivered": 4, "failed": 0, "rejected": 0, "dropped": 4}


def test_only_the_phase_that_is_wanted_is_delivered():
    output = Kept()
    box = OutputQueue("x", output, 10, "onset")
    box.start()
    for phase in ("onset", "final"):
        box.offer(record(phase=phase))
    box.close(5)
    assert [r["phase"] for r in output.got] == ["onset"]


def test_a_spool_keeps_its_newest_within_its_bytes_and_sets_a_damaged_file_aside(tmp_path):
    path = tmp_path / "spool" / "mqtt.db"
    spool = Spool(path, 4_096)
    for number in range(100):
        spool.append(record(number))
    assert spool.dropped == 100 - spool.count
    oldest = spool.oldest()
    assert oldest is not None
    assert oldest[1]["id"] == f"id-{spool.dropped}"
    spool.close()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    again = Spool(path, 4_096)
    assert again.oldest() == oldest
    again.close()
    path.write_bytes(b"no database at all" * 100)
    fresh = Spool(path, 4_096)
    assert fresh.count == 0
    assert fresh.damaged_copy is not None
    assert fresh.damaged_copy.read_bytes().startswith(b"no database")
    fresh.close()


def test_a_spool_that_can_not_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="no spool can be kept there"):
        Spool(tmp_path / "file" / "mqtt.db", 4_096)


@settings(max_examples=25, deadline=None)
@given(plan=st.lists(st.sampled_from(["event", "down", "up", "restart"]), max_size=25))
def test_whatever_happens_everything_is_delivered_at_least_once_and_in_order(
    tmp_path_factory, plan
):
    path = tmp_path_factory.mktemp("spool") / "x.db"
    output, sent = Kept(), 0

    def begin():
        box = SpooledOutputQueue("x", output, Spool(path, 1 << 20), 100)
        box.start()
        return box

    box = begin()
    for what in [*plan, "up"]:
        if what == "event":
            box.offer(record(sent))
            sent += 1
        elif what == "restart":
            assert box.close(5) == 0
            box = begin()
        else:
            output.fault = OutputError("down") if what == "down" else None
    box.close(5)
    box = begin()
    wait_for(lambda: box.length == 0, 20)
    box.close(5)
    got = [r["id"] for r in output.got]
    first = [g for i, g in enumerate(got) if g not in got[:i]]
    assert first == [f"id-{n}" for n in range(sent)]


def test_a_spool_that_can_not_be_read_for_a_while_ends_nothing(tmp_path):
    spool, output = Spool(tmp_path / "x.db", 1 << 20), Kept()
    box = SpooledOutputQueue("x", output, spool, 100)
    spool._db.execute("ALTER TABLE waiting RENAME TO away")
    box.start()
    wait_for(lambda: box.counts["failed"] >= 1)
    assert box.fault is not None
    spool._db.execute("ALTER TABLE away RENAME TO waiting")
    box.offer(record(1))
    wait_for(lambda: output.got)
    assert box.close(5) == 0


def test_the_spool_is_a_file_that_anyone_can_read(tmp_path):
    spool = Spool(tmp_path / "x.db", 1 << 20)
    spool.append(record(7))
    with sqlite3.connect(tmp_path / "x.db") as base:
        assert json.loads(base.execute("SELECT record FROM waiting").fetchone()[0])["id"] == "id-7"
    base.close()
    spool.close()
