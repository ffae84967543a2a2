"""A daemon inside another program: threads, signals, and what it leaves open."""

import os
import re
import signal
import threading
import time
from contextlib import contextmanager

import pytest
from conftest import wait_for
from daemons import free_port
from test_faults_outputs import open_files

from streamdet.config import layers
from streamdet.config.layers import ConfigError, ConfigLayer
from streamdet.config.schema import Config
from streamdet.daemon.components import no_page
from streamdet.daemon.daemon import Daemon
from streamdet.daemon.log import DaemonLog
from streamdet.web.server import open_page

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def config_of(wav, **tables) -> Config:
    source = {"name": "trial", "file": str(wav), "loop": True}
    tree = {"http": {"address": "off"}, "stdout": {"phase": "off"}, "sources": [source], **tables}
    return layers.read_config(None, ConfigLayer("test", tree), only_flags=True)


@pytest.fixture
def log(tmp_path):
    with (tmp_path / "log.txt").open("w") as stream:
        made = DaemonLog(stream=stream)
        yield made
        made.close()


@pytest.fixture
def create(bundle, wav, log):
    """Creates daemons over an endless file."""

    def create_daemon(page=no_page, **tables) -> Daemon:
        config = config_of(wav, **tables)
        return Daemon(config, bundle, log, lambda: config, page=page)

    return create_daemon


@contextmanager
def running(daemon: Daemon):
    """Runs a daemon in a thread, once it is ready."""
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        wait_for(lambda: daemon.ready().ok, 40)
        yield
    finally:
        daemon.stop()
        thread.join(20)
    assert not thread.is_alive()


def metric(daemon: Daemon, name: str, **labels: str) -> float | None:
    return daemon.components.metrics.registry.get_sample_value(f"streamdet_{name}", labels)


def reload(daemon: Daemon, config: Config, result: str = "good") -> None:
    before = metric(daemon, "config_reloads_total", result=result)
    daemon.read_config = lambda: config
    daemon.reload()
    wait_for(lambda: metric(daemon, "config_reloads_total", result=result) != before)


def test_a_daemon_runs_in_a_thread_without_signal_handlers(create):
    daemon = create()
    before = [signal.getsignal(number) for number in SIGNALS]
    with running(daemon):
        assert [signal.getsignal(number) for number in SIGNALS] == before
        reload(daemon, daemon.config)
    assert daemon.summary.analysed_s > 0


def test_events_that_removed_outputs_do_not_deliver_are_counted_and_logged(create, wav, tmp_path):
    hangs = {"argv": ["sleep", "20"], "phase": "both", "timeout_s": 60}
    daemon = create(jsonl={"path": str(tmp_path)}, command=hangs)  # a folder cannot be written to
    with running(daemon):
        for sink in ("jsonl", "command"):
            wait_for(lambda sink=sink: metric(daemon, "sink_queue_length", sink=sink) >= 2)
        reload(daemon, config_of(wav))
        for sink in ("jsonl", "command"):
            wait_for(lambda sink=sink: metric(daemon, "sink_queue_length", sink=sink) == 0)
    daemon.log.close()
    text = (tmp_path / "log.txt").read_text()
    counts = dict(re.findall(r"^streamdet: (\w+): (\d+) events were not delivered$", text, re.M))
    assert counts.keys() == {"jsonl", "command"}
    assert sum(map(int, counts.values())) == daemon.summary.undelivered >= 4


def test_the_summary_includes_the_sources_that_a_reload_replaced_or_removed(create, wav):
    rows = [{"name": name, "file": str(wav), "loop": True} for name in ("replaced", "removed")]
    daemon = create(sources=rows)
    with running(daemon):
        closed = list(daemon.components.sources)
        wait_for(lambda: all(source.counts.events for source in closed))
        reload(daemon, config_of(wav, sources=[rows[0] | {"gain_db": 1.0}]))
        (last,) = daemon.components.sources
        wait_for(lambda: last.counts.analysed_s)
    counts = [source.counts for source in (*closed, last)]
    assert daemon.summary.analysed_s == pytest.approx(sum(c.analysed_s for c in counts))
    assert daemon.summary.events == sum(c.events for c in counts) >= 2


def test_a_server_that_a_failed_reload_cannot_open_again_is_logged(create, wav, tmp_path):
    store, tables, bad = {"path": str(tmp_path / "events.db")}, {}, {}
    for name in ("http", "web"):
        (tmp_path / name).write_text("s3cret")
        address = f"127.0.0.1:{free_port()}"
        tables[name] = {"address": address, "token_file": str(tmp_path / name)}
        bad[name] = {"address": address, "tls_cert": "/nowhere", "tls_key": "/nowhere"}
    daemon = create(page=open_page, store=store, **tables)
    with running(daemon):
        (tmp_path / "http").unlink()
        reload(daemon, config_of(wav, store=store, web=tables["web"], http=bad["http"]), "bad")
        (tmp_path / "web").unlink()
        reload(daemon, config_of(wav, store=store, web=bad["web"]), "bad")
        analysed_s = daemon.components.sources[0].counts.analysed_s
        wait_for(lambda: daemon.components.sources[0].counts.analysed_s > analysed_s)
    daemon.log.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    for name, words in (("http", "/metrics is"), ("web", "the review page is")):
        missing = f"{name}.token_file: {tmp_path / name}: No such file or directory"
        assert f"streamdet: {words} no longer served: {missing}" in lines


def test_events_that_are_delivered_at_the_end_are_counted(create):
    daemon = create(command={"argv": ["sleep", "0.5"], "phase": "both"})
    with running(daemon):
        wait_for(lambda: metric(daemon, "detections_total", source="trial"))
    labels = {"sink": "command", "result": "delivered"}
    assert metric(daemon, "sink_events_total", **labels) == 2 * daemon.summary.events
    assert daemon.summary.undelivered == 0


def signalled(daemon: Daemon, *numbers: signal.Signals) -> None:
    """Run a daemon, and send it signals once it is ready."""

    def send() -> None:
        try:
            wait_for(lambda: daemon.ready().ok, 40)
            for number in numbers:
                os.kill(os.getpid(), number)
                time.sleep(0.3)
        finally:
            daemon.stop()

    thread = threading.Thread(target=send)
    thread.start()
    daemon.run()
    thread.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_handler_of_the_program_after_shutdown(create, number):
    daemon, received = create(), []

    def handler(number, _frame) -> None:
        received.append((number, daemon.summary.analysed_s > 0))

    before = {each: signal.signal(each, handler) for each in SIGNALS}
    try:
        signalled(daemon, signal.SIGHUP, number)
        assert [signal.getsignal(each) for each in SIGNALS] == [handler] * 3
    finally:
        for each, old in before.items():
            signal.signal(each, old)
    assert received == [(number, True)]  # SIGHUP was the daemon's own


def test_a_signal_with_its_default_action_ends_the_run_and_not_the_program(create):
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        signalled(create(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        signalled(create(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_daemon_that_cannot_be_built_leaves_nothing_open(create, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot open the spool"):
        create(
            store={"path": str(tmp_path / "events.db")},
            webhook={"url": "http://127.0.0.1:1/"},
            spool={"folder": str(tmp_path / "file")},
        )
    with pytest.raises(ConfigError, match="web: the review page is not available here"):
        create(
            store={"path": str(tmp_path / "events.db")},
            webhook={"url": "http://127.0.0.1:1/"},
            spool={"folder": str(tmp_path / "spool")},
            web={"address": "127.0.0.1:1"},
        )
    assert (tmp_path / "spool" / "webhook.db").exists()
    assert open_files(os.getpid(), "events.db") == open_files(os.getpid(), "webhook.db") == 0
