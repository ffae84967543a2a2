"""Every key there is, with its type, its limits and its default."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from streamdet.config import schedule

TEMPLATE_FIELDS = frozenset(
    ("id", "type", "phase", "source", "time", "onset_s", "offset_s", "duration_s", "events",
     "rounds", "score", "level_dbfs")
)  # fmt: skip
"""What a webhook's template may say of an event or an incident."""
LOOPBACK = frozenset(("localhost", "127.0.0.1", "[::1]", "::1"))
SCHEMES = frozenset(("rtsp", "rtsps", "rtmp", "http", "https", "srt", "udp", "rtp", "tcp"))
KINDS = ("device", "url", "pipe", "file")
DELIVERIES = ("jsonl", "mqtt", "webhook", "command")


class ConfigTable(BaseModel):
    """A table of the file: frozen, and without any key that is not here."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", str_strip_whitespace=True, coerce_numbers_to_str=True
    )


def _name(text: str) -> str:
    if not text or len(text) > 64 or not text.isprintable():
        raise ValueError("a name is 1 to 64 printable characters")
    return text


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    fits = colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536
    if text != "off" and not fits:
        raise ValueError("not HOST:PORT, nor off")
    return text


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        fits = parts.scheme in SCHEMES and bool(parts.netloc)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"not an address of a stream; it begins with one of {_listed(SCHEMES)}")
    return text


def _web(text: str) -> str:
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("not an http:// or https:// address")
    return text


def _topic(text: str) -> str:
    if not text or re.search(r"[#+\x00]", text) or text.startswith(("/", "$")) or text[-1] == "/":
        raise ValueError("a topic has no #, + or NUL, no / at its ends and no $ at its beginning")
    return text


def _template(text: str) -> str:
    template = Template(text)
    if not template.is_valid():
        raise ValueError("a $ that begins no field; write $$ for a dollar")
    if unknown := set(template.get_identifiers()) - TEMPLATE_FIELDS:
        raise ValueError(f"no field ${min(unknown)}; there are {_listed(TEMPLATE_FIELDS)}")
    return text


def _hours(text: str) -> str:
    schedule.parse_hours(text)
    return text


def _listed(words: frozenset[str]) -> str:
    return ", ".join(sorted(words))


Name = Annotated[str, AfterValidator(_name)]
Address = Annotated[str, AfterValidator(_address)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Phases = Literal["both", "onset", "final"]
RecordKinds = Literal["events", "incidents", "both"]
Bytes = Annotated[int, Field(ge=4_096)]
QueueLength = Annotated[int, Field(ge=1, le=1_000_000)]


class SourceConfig(ConfigTable):
    """Something to hear: a ``name`` and one of device, url, pipe, file."""

    name: Name
    device: str | None = None
    url: Annotated[str, AfterValidator(_url)] | None = None
    pipe: str | None = None
    file: Path | None = None
    required: bool = True
    channel: Annotated[int, Field(ge=1, le=64)] | None = None
    gain_db: Annotated[float, Field(ge=-60, le=60)] = 0.0
    threshold: Probability | None = None
    operating_point: str | None = None
    active: tuple[Annotated[str, AfterValidator(_hours)], ...] = ()
    stall_s: Seconds | None = None
    rate: Annotated[int, Field(ge=4_000, le=384_000)] = 16_000
    channels: Annotated[int, Field(ge=1, le=64)] = 1
    encoding: Literal["s16", "s24", "s32", "f32", "f64", "u8"] = "s16"
    realtime: bool = True
    loop: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> SourceConfig:
        given = [k for k in KINDS if getattr(self, k) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(f"give one of {', '.join(KINDS)}; there is {found}")
        if self.threshold is not None and self.operating_point is not None:
            raise ValueError("threshold and operating_point: give one of them")
        return self

    @property
    def kind(self) -> str:
        """Which of the four it is."""
        return next(k for k in KINDS if getattr(self, k) is not None)


class HttpConfig(ConfigTable):
    """/metrics, /healthz and /readyz."""

    address: Address = "127.0.0.1:9477"
    token_file: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> HttpConfig:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key: give both or none")
        return self


class LogConfig(ConfigTable):
    """Lines on stderr."""

    format: Literal["text", "json"] = "text"
    repeat_s: Seconds = 60.0


class StdoutConfig(ConfigTable):
    """JSON lines on stdout."""

    phase: Phases | Literal["off"] = "both"
    queue: QueueLength = 1_000


class JsonlConfig(ConfigTable):
    """JSON lines in a file that is set aside when it has grown."""

    path: Path
    max_bytes: Bytes = 10_000_000
    keep: Annotated[int, Field(ge=1, le=1_000)] = 5
    phase: Phases = "both"
    tells: RecordKinds = "events"
    queue: QueueLength = 10_000


class MqttConfig(ConfigTable):
    """A broker, which is told every event at least once and in order."""

    host: str
    port: Annotated[int, Field(ge=1, le=65_535)] = 1883
    tls: bool = False
    ca_file: Path | None = None
    user: str | None = None
    password_file: str | None = None
    client_id: str | None = None
    topic: Annotated[str, AfterValidator(_topic)] = "streamdet"
    discovery: bool = True
    discovery_prefix: Annotated[str, AfterValidator(_topic)] = "homeassistant"
    phase: Phases = "both"
    tells: RecordKinds = "events"
    timeout_s: Seconds = 10.0
    queue: QueueLength = 1_000


class WebhookConfig(ConfigTable):
    """An address to which every event is posted, at least once and in order."""

    url: Annotated[str, AfterValidator(_web)] | None = None
    url_file: str | None = None
    secret_file: str | None = None
    template: Annotated[str, AfterValidator(_template)] | None = None
    content_type: str = "application/json"
    phase: Phases = "final"
    tells: RecordKinds = "events"
    timeout_s: Seconds = 10.0
    queue: QueueLength = 1_000

    @model_validator(mode="after")
    def _one_address(self) -> WebhookConfig:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("give one of url and url_file")
        return self


class CommandConfig(ConfigTable):
    """A program that is run for every event, the event as JSON on its stdin."""

    argv: Annotated[tuple[str, ...], Field(min_length=1)]
    phase: Phases = "onset"
    tells: RecordKinds = "events"
    timeout_s: Seconds = 10.0
    queue: QueueLength = 100


class SpoolConfig(ConfigTable):
    """Where events for MQTT and the webhook wait on disk until they are delivered."""

    folder: Path | None = None
    max_bytes: Bytes = 64_000_000


class StoreConfig(ConfigTable):
    """Where every event and what is said of it is kept. ``keep_events`` 0: all of them."""

    path: Path
    keep_days: Annotated[float, Field(gt=0, le=36_500)] = 365.0
    keep_events: Annotated[int, Field(ge=0)] = 1_000_000
    pictures: bool = True
    redact_speech: bool = False
    queue: QueueLength = 10_000


class ClipsConfig(ConfigTable):
    """The sound of every event, from ``pre_s`` before its onset to ``post_s`` behind its end."""

    folder: Path
    pre_s: Annotated[float, Field(ge=0.2, le=60)] = 2.0
    post_s: Annotated[float, Field(ge=0.2, le=60)] = 3.0
    max_bytes: Bytes = 1_000_000_000
    max_days: Annotated[float, Field(gt=0, le=36_500)] = 30.0
    min_free_bytes: Annotated[int, Field(ge=0)] = 500_000_000


class WebConfig(ConfigTable):
    """The review page. Beyond loopback it wants a token."""

    address: Annotated[str, AfterValidator(_address)]
    token_file: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    hosts: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _guarded(self) -> WebConfig:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key: give both or none")
        if self.token_file is None and self.address != "off" and not is_loopback(self.address):
            raise ValueError("beyond loopback a token is wanted: give token_file")
        return self


class Config(ConfigTable):
    """All of it. Seconds, decibels and bytes as the names say."""

    model: Path | None = None
    platform: Literal["auto", "numpy", "cpu", "gpu", "tpu"] = "auto"
    threshold: Probability | None = None
    operating_point: str | None = None
    ring_s: Annotated[float, Field(ge=1, le=600)] = 10.0
    stall_s: Annotated[float, Field(ge=0.5, le=3_600)] = 5.0
    open_s: Annotated[float, Field(ge=0.5, le=600)] = 15.0
    retry_first_s: Seconds = 1.0
    retry_most_s: Seconds = 60.0
    give_up_s: Annotated[float, Field(ge=0, le=604_800)] = 0.0
    silence_dbfs: Annotated[float, Field(ge=-200, le=0)] = -100.0
    silence_s: Seconds = 10.0
    http: HttpConfig = HttpConfig()
    log: LogConfig = LogConfig()
    stdout: StdoutConfig = StdoutConfig()
    jsonl: JsonlConfig | None = None
    mqtt: MqttConfig | None = None
    webhook: WebhookConfig | None = None
    command: CommandConfig | None = None
    spool: SpoolConfig = SpoolConfig()
    store: StoreConfig | None = None
    clips: ClipsConfig | None = None
    web: WebConfig | None = None
    incident_gap_s: Seconds = 30.0
    sources: Annotated[tuple[SourceConfig, ...], Field(max_length=1_000)] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if self.threshold is not None and self.operating_point is not None:
            raise ValueError("threshold and operating_point: give one of them")
        if self.retry_first_s > self.retry_most_s:
            raise ValueError("retry_first_s must not be above retry_most_s")
        for name in ("clips", "web"):
            if getattr(self, name) is not None and self.store is None:
                raise ValueError(f"{name}: wants a [store] too (--store)")
        if self.clips is not None and self.clips.pre_s > self.ring_s:
            raise ValueError("clips.pre_s must not be above ring_s, where the pre-roll comes from")
        slugs: dict[str, str] = {}
        for source in self.sources:
            if (word := slug(source.name)) in slugs:
                raise ValueError(
                    f"sources {slugs[word]!r} and {source.name!r}: names must differ in more than "
                    "case and punctuation"
                )
            slugs[word] = source.name
        return self


def is_loopback(address: str) -> bool:
    """Whether HOST:PORT is reached from this machine alone."""
    return address.rpartition(":")[0] in LOOPBACK


def slug(name: str) -> str:
    """A source's name in a topic: lower case letters, digits and _ alone."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "source"
