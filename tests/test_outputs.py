"""Outputs one by one: what they send, queue and reject."""

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
from streamdet.outputs.queue import Output, OutputError, OutputQueue, RecordFilter
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


class RecordingOutput(Output):
    """Records what is delivered, or raises ``fault``."""

    def __init__(self) -> None:
        self.got: list[dict] = []
        self.fault: OutputError | None = None

    def deliver(self, record) -> None:
        if self.fault is not None:
            raise self.fault
        self.got.append(record)


def opened(path) -> Spool:
    spool = Spool(path, 4_096)
    spool.open()
    return spool


def test_a_webhook_is_signed_and_uses_its_template(hook):
    config = WebhookConfig(url=hook.url, template='{"text": "$source, $rounds rounds, $$5, $time"}')
    WebhookOutput(config, hook.url, "k3y").deliver(record())
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
def test_which_http_statuses_a_webhook_retries(hook, status, final):
    hook.status = status
    output = WebhookOutput(WebhookConfig(url=hook.url), hook.url, None)
    with pytest.raises(OutputError, match=f"status {status}") as raised:
        output.deliver(record())
    assert raised.value.final is final


def test_a_command_gets_the_event_without_a_shell(tmp_path, capfd):
    script, out = tmp_path / "on-gunshot", tmp_path / "out"
    script.write_text(f'#!/bin/sh\necho "$# $1"; cat > {out}\n')
    script.chmod(0o755)
    CommandOutput(CommandConfig(argv=(str(script), "$(reboot) ; *"))).deliver(record())
    assert json.loads(out.read_text()) == record()
    assert capfd.readouterr() == ("", "1 $(reboot) ; *\n")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (("/nowhere/x",), "No such file"),
        (("false",), "exit code 1"),
        (("sleep", "9"), "killed after 0.3 s"),
    ],
)
def test_a_command_that_fails_is_one_line_and_not_retried(argv, line):
    with pytest.raises(OutputError, match=line) as raised:
        CommandOutput(CommandConfig(argv=argv, timeout_s=0.3)).deliver(record())
    assert raised.value.final


def test_a_file_is_rotated_and_an_incomplete_line_is_terminated(tmp_path):
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


def test_a_full_queue_drops_its_oldest_records_and_counts_them():
    released = threading.Event()

    class Slow(RecordingOutput):
        delivering = False

        def deliver(self, record) -> None:
            self.delivering = True
            released.wait(20)
            super().deliver(record)

    output = Slow()
    queue = OutputQueue("x", output, 3)
    queue.start()
    queue.offer(record(0))
    wait_for(lambda: output.delivering)
    for number in range(1, 8):
        queue.offer(record(number))
    assert queue.length == 4
    released.set()
    assert queue.close(5) == 0
    assert [r["id"] for r in output.got] == ["id-0", "id-5", "id-6", "id-7"]
    assert queue.counts == {"delivered": 4, "failed": 0, "rejected": 0, "dropped": 4}


def test_a_record_that_is_still_retried_at_close_counts_as_not_delivered():
    output = RecordingOutput()
    output.fault = OutputError("down")
    queue = OutputQueue("x", output, 3)
    queue.start()
    queue.offer(record(0))
    queue.offer(record(1))
    wait_for(lambda: queue.fault)
    assert queue.close(0.1) == 2


def test_only_the_configured_phase_is_delivered():
    output = RecordingOutput()
    queue = OutputQueue("x", output, 10, RecordFilter("onset"))
    queue.start()
    for phase in ("onset", "final"):
        queue.offer(record(phase=phase))
    queue.close(5)
    assert [r["phase"] for r in output.got] == ["onset"]


def test_a_spool_keeps_the_newest_max_bytes_and_moves_a_damaged_file(tmp_path):
    path = tmp_path / "spool" / "mqtt.db"
    spool = opened(path)
    for number in range(100):
        spool.append(record(number))
    assert spool.dropped == 100 - spool.count
    oldest = spool.oldest()
    assert oldest is not None
    assert oldest[1]["id"] == f"id-{spool.dropped}"
    spool.close()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    again = opened(path)
    assert again.oldest() == oldest
    again.close()
    path.write_bytes(b"no database at all" * 100)
    fresh = opened(path)
    assert fresh.count == 0
    assert fresh.damaged_copy is not None
    assert fresh.damaged_copy.read_bytes().startswith(b"no database")
    fresh.close()


def test_a_spool_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="cannot open the spool"):
        Spool(tmp_path / "file" / "mqtt.db", 4_096).open()


@settings(max_examples=25, deadline=None)
@given(plan=st.lists(st.sampled_from(["event", "down", "up", "restart"]), max_size=25))
def test_every_record_is_delivered_at_least_once_and_in_order(tmp_path_factory, plan):
    path = tmp_path_factory.mktemp("spool") / "x.db"
    output, sent = RecordingOutput(), 0

    def start():
        queue = SpooledOutputQueue("x", output, Spool(path, 1 << 20), 100)
        queue.open()
        queue.start()
        return queue

    queue = start()
    for what in [*plan, "up"]:
        if what == "event":
            queue.offer(record(sent))
            sent += 1
        elif what == "restart":
            assert queue.close(5) == 0
            queue = start()
        else:
            output.fault = OutputError("down") if what == "down" else None
    queue.close(5)
    queue = start()
    wait_for(lambda: queue.length == 0, 20)
    queue.close(5)
    got = [r["id"] for r in output.got]
    first = [g for i, g in enumerate(got) if g not in got[:i]]
    assert first == [f"id-{n}" for n in range(sent)]


def test_a_spool_that_is_unreadable_for_a_while_recovers(tmp_path):
    output = RecordingOutput()
    queue = SpooledOutputQueue("x", output, Spool(tmp_path / "x.db", 1 << 20), 100)
    queue.open()
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("ALTER TABLE waiting RENAME TO away")
    queue.start()
    wait_for(lambda: queue.counts["failed"] >= 1)
    assert queue.fault is not None
    other.execute("ALTER TABLE away RENAME TO waiting")
    other.close()
    queue.offer(record(1))
    wait_for(lambda: output.got)
    assert queue.close(5) == 0


def test_the_spool_is_a_plain_sqlite_file(tmp_path):
    spool = opened(tmp_path / "x.db")
    spool.append(record(7))
    with sqlite3.connect(tmp_path / "x.db") as base:
        assert json.loads(base.execute("SELECT record FROM waiting").fetchone()[0])["id"] == "id-7"
    base.close()
    spool.close()
