"""The configuration: file, environment and flags, and the errors in each."""

import re
import tomllib
from datetime import datetime
from importlib.resources import files

import pytest
from conftest import streamdet
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet.config import layers, schedule
from streamdet.config.layers import (
    ConfigError,
    ConfigLayer,
    from_environment,
    from_settings,
    merge_layers,
)
from streamdet.config.schema import Config, slug
from streamdet.config.secret import read_secret

EXAMPLE = files("streamdet.config").joinpath("example.toml").read_text()


def uncommented(text):
    return re.sub(r"^#(?=[\w\[])", "", text, flags=re.MULTILINE)


def test_the_example_has_every_key_with_its_default():
    assert merge_layers([ConfigLayer("example", tomllib.loads(EXAMPLE))]) == Config()
    whole = tomllib.loads(uncommented(EXAMPLE))
    (source,) = whole.pop("sources")
    given_keys = {("sources", key) for key in source}
    given_keys |= {
        (name, key) for name, table in whole.items() if isinstance(table, dict) for key in table
    }
    given_keys |= {(name,) for name, value in whole.items() if not isinstance(value, dict)}
    assert given_keys == set(layers.config_keys(Config))
    has_default = {
        ".".join(path): field.default
        for path, field in fields(Config)
        if field.default not in (None, (), ...) and not field.is_required()
    }
    for path, default in has_default.items():
        table, _, key = path.rpartition(".")
        where = source if table == "sources" else whole.get(table, {}) if table else whole
        assert where[key] == default, path


def fields(table, path=()):
    for name, field in table.model_fields.items():
        inner = layers.table_type(field.annotation)
        if inner is None:
            yield (*path, name), field
        else:
            yield from fields(inner, (*path, name))


def test_a_later_layer_overrides_an_earlier_one(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(
        'stall_s = 1\nring_s = 20\n[[sources]]\nname = "The Gate"\ndevice = "USB"\ngain_db = 1\n'
    )
    config = layers.read_config(
        path,
        from_settings(['sources."The Gate".gain_db=3', "http.address=off"]),
        environment={
            "STREAMDET_STALL_S": "2", "STREAMDET_SOURCES__THE_GATE__GAIN_DB": "2",
            "STREAMDET_SOURCES__THE_GATE__REQUIRED": "false", "STREAMDET_CONFIG": "/nowhere",
        },
    )  # fmt: skip
    assert (config.ring_s, config.stall_s, config.http.address) == (20, 2, "off")
    (gate,) = config.sources
    assert (gate.name, gate.device, gate.gain_db, gate.required) == ("The Gate", "USB", 3, False)


def test_every_key_can_be_set_by_the_environment_and_by_a_flag():
    whole = tomllib.loads(uncommented(EXAMPLE))
    (source,) = whole.pop("sources")
    for kind in ("url", "pipe", "file"):
        del source[kind]
    for key in ("operating_point", "false_alarms"):
        del source[key], whole[key]
    del whole["webhook"]["url_file"]
    rows = {(name,): value for name, value in whole.items() if not isinstance(value, dict)}
    for name, table in whole.items():
        if isinstance(table, dict):
            rows |= {(name, key): value for key, value in table.items()}
    rows |= {("sources", "gate", k): v for k, v in source.items() if k != "name"}
    import json

    variables = {"STREAMDET_" + "__".join(p).upper(): json.dumps(v) for p, v in rows.items()}
    flags = [f"{'.'.join(p)}={json.dumps(v)}" for p, v in rows.items()]
    assert merge_layers([from_environment(variables)]) == merge_layers([from_settings(flags)])


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("stal_s=3", "--set: stal_s: unknown key; did you mean stall_s?"),
        ("sources.gate.treshold=0.5", "--set: sources.gate.treshold: unknown key; did you mean"),
        ("stall_s=soon", "--set: stall_s: should be a valid number"),
        ("http.address=9477", "--set: http.address: must be HOST:PORT or off"),
        ("sources.gate.url=ftp://x", "--set: sources.gate.url: not the URL of a stream"),
        ("sources.gate.active=[\"Mo 08:00-09:00\"]", "unknown day 'mo'; use mon, tue"),
        ("webhook.template=$nothing", "unknown field $nothing; use"),
        ("mqtt.topic=a/#", "--set: mqtt.topic: must not be empty, contain #"),
        ("sources=3", "--set: sources: must be a list of tables"),
        ("nonsense", "--set nonsense: expected KEY=VALUE"),
        ("sources.gate=3", "--set: sources.gate: must be a table, not a value"),
        ("sources=[{device = \"\"}]", "--set: sources, number 1: has no name; add name = "),
        ("sources.gate.gain_db=3", "set exactly one of device, url, pipe, file, not none of them"),
        ("sources.gate.active=[\"8-9\"]", "invalid hours '8-9'; write 08:00-18:00"),
        ("web.address=0.0.0.0:9478", "other machines can reach 0.0.0.0:9478, so it needs a token; "
         "set token_file"),
        ("clips.folder=/tmp/clips", "clips: needs a store; add a [store] table or --store"),
        ("mqtt.host=\"a\\u0007\"", "mqtt.host: contains a control character; remove it"),
    ],
)  # fmt: skip
def test_an_error_says_where_what_and_what_to_do(setting, line):
    with pytest.raises(ConfigError, match=re.escape(line)):
        merge_layers([from_settings([setting])])


def test_a_key_that_is_a_table_and_a_value_is_an_error():
    for flags in (["http=1", "http.address=off"], ["http.address=off", "http=1"]):
        (line,) = faults_of(lambda flags=flags: from_settings(flags))
        assert line.endswith("remove one of the two")


def test_a_file_that_is_not_toml_names_the_line_and_a_valid_example(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("stall_s = 3\nring_s\n")
    (line,) = faults_of(lambda: layers.from_file(path))
    assert line.startswith(f"{path}: invalid TOML: ")
    assert "line 2" in line
    assert line.endswith("; `streamdet config example` prints a valid file")


@pytest.mark.parametrize(
    ("where", "environment", "line"),
    [
        ("credential:token", {}, "systemd passes no credentials; add LoadCredential=token:PATH"),
        ("credential:../token", {}, "invalid name of a credential"),
        ("two-lines", {}, "must contain exactly one line of text"),
        ("missing", {}, "No such file or directory"),
    ],
)
def test_a_secret_that_cannot_be_read_names_its_key_and_the_remedy(
    tmp_path, monkeypatch, where, environment, line
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two-lines").write_text("a\nb\n")
    faults = faults_of(lambda: read_secret(where, "http.token_file", environment))
    assert faults == [f"http.token_file: {where}: {line}"]


def test_names_with_the_same_topic_are_refused():
    rows = [{"name": n, "device": ""} for n in ("Gate 1", "gate-1")]
    with pytest.raises(ConfigError, match="'Gate 1' and 'gate-1'"):
        merge_layers([ConfigLayer("f", {"sources": rows})])


def faults_of(call):
    """The lines of a ConfigError; None if there is none."""
    try:
        call()
    except ConfigError as error:
        return error.faults


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
KEYS = st.sampled_from(["/".join(path) for path in layers.config_keys(Config)]) | st.text(
    max_size=6
)


@settings(max_examples=300, deadline=None)
@given(tree=st.dictionaries(KEYS, JSONISH, max_size=4))
def test_any_tree_is_a_configuration_or_clear_lines(tree):
    nested: dict = {}
    for key, value in tree.items():
        *tables, last = key.split("/")
        at = nested
        for table in tables:
            at = at.setdefault(table, {}) if isinstance(at.setdefault(table, {}), dict) else {}
        at[last] = value
    faults = faults_of(lambda: merge_layers([ConfigLayer("f", nested)]))
    assert faults is None or (faults and all(f and "\n" not in f for f in faults))


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=200))
def test_a_file_of_any_bytes_is_a_layer_or_one_line(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("c") / "c.toml"
    path.write_bytes(raw)
    faults = faults_of(lambda: layers.from_file(path))
    assert faults is None or len(faults) == 1


def test_check_show_and_example(tmp_path):
    path = tmp_path / "c.toml"
    assert streamdet("config", "example").stdout.decode() == EXAMPLE
    path.write_bytes(streamdet("config", "example").stdout)
    assert streamdet("config", "check", "--config", path).stdout.startswith(b"valid; sources: none")
    path.write_text('[[sources]]\nname = "cam"\nurl = "rtsp://me:s3cret@cam/1"\n')
    shown = streamdet("config", "show", "--config", path).stdout.decode()
    assert tomllib.loads(shown)["sources"][0]["url"] == "rtsp://...@cam/1"
    assert "s3cret" not in shown
    path.write_text(
        'operating_point = "loud"\n[mqtt]\nhost = "h"\npassword_file = "/nowhere"\n'
        '[[sources]]\nname = "a"\ndevice = ""\n'
    )
    done = streamdet("config", "check", "--config", path)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        "streamdet: operating_point: this bundle has no 'loud'. "
        "Use one of: sensitive, balanced, strict, default",
        "streamdet: mqtt.password_file: /nowhere: No such file or directory",
    ]
    done = streamdet("config", "check", "--config", tmp_path / "none.toml")
    assert done.returncode == 2
    assert done.stderr.decode().endswith("none.toml: No such file or directory\n")


def test_no_message_contains_a_secret(tmp_path):
    done = streamdet("config", "check", env={"PATH": "/", "STREAMDET_MQTT__PASSWORD": "s3cret"})
    assert done.returncode == 2
    assert b"STREAMDET_MQTT__PASSWORD: unknown key; did you mean password_file?" in done.stderr
    assert b"s3cret" not in done.stderr
    url = tmp_path / "url"
    url.write_text("ftp://s3cret@host/")
    done = streamdet("config", "check", env={"PATH": "/", "STREAMDET_WEBHOOK__URL_FILE": str(url)})
    assert done.returncode == 2
    message = f"webhook.url_file: {url}: must be an http:// or https:// URL"
    assert done.stderr.decode() == f"streamdet: {message}\n"


@pytest.mark.parametrize(
    ("text", "at", "inside"),
    [
        ("08:00-18:00", "2026-11-25T08:00", True),
        ("08:00-18:00", "2026-11-25T18:00", False),
        ("Mon-Fri 08:00-18:00", "2026-11-28T12:00", False),
        ("Sat,Sun 22:00-06:00", "2026-11-29T23:00", True),
        ("Sat,Sun 22:00-06:00", "2026-11-30T05:59", True),  # Monday, started on Sunday
        ("Sat,Sun 22:00-06:00", "2026-11-28T05:59", False),  # Saturday, not started on Friday
        ("Fri-Mon 00:00-24:00", "2026-11-28T12:00", True),
        ("00:00-24:00", "2026-11-25T23:59", True),
    ],
)
def test_schedules(text, at, inside):
    assert schedule.is_active((schedule.parse_hours(text),), datetime.fromisoformat(at)) is inside


@given(name=st.text(min_size=1, max_size=64), topic=st.text(max_size=20))
def test_any_name_and_topic_is_refused_or_one_that_a_broker_takes(name, topic):
    from paho.mqtt.client import topic_matches_sub

    row = {"name": name, "device": ""}
    table = {"host": "h", "topic": topic}
    if (
        faults_of(lambda: merge_layers([ConfigLayer("f", {"sources": [row], "mqtt": table})]))
        is None
    ):
        where = f"{topic.strip()}/{slug(name)}/event"
        assert not set(where) & set("+#\0")
        assert topic_matches_sub("#", where)
        assert topic_matches_sub("+/" * topic.strip().count("/") + "+/+/event", where)


@given(
    names=st.lists(st.text(max_size=12), max_size=6),
    name=st.none() | st.text(max_size=12),
)
def test_any_device_name_is_one_device_or_one_line(names, name):
    from streamdet.audio.device import Device, choose_device
    from streamdet.audio.source import SourceError

    devices = [Device(n, "ALSA", 1, 48_000, i == 0, i) for i, n in enumerate(names)]
    try:
        chosen = choose_device(devices, name)
    except SourceError as error:
        line = str(error)
    else:
        assert chosen in devices
        line = ""
    assert "\n" not in line
