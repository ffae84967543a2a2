"""Every configuration key, with its type, limits and default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from streamdet.config import checks

LOOPBACK = frozenset(("localhost", "127.0.0.1", "[::1]", "::1"))
KINDS = ("device", "url", "pipe", "file")
DELIVERIES = ("jsonl", "mqtt", "webhook", "command")


class ConfigTable(BaseModel):
    """A table of the configuration: frozen, without unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", str_strip_whitespace=True, coerce_numbers_to_str=True
    )


Name = Annotated[str, AfterValidator(checks.check_name)]
Address = Annotated[str, AfterValidator(checks.check_address)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Budget = Annotated[str, AfterValidator(checks.check_budget)]
Phases = Literal["both", "onset", "final"]
RecordKinds = Literal["events", "incidents", "both"]
Tell = Literal["onset", "verified"]
Bytes = Annotated[int, Field(ge=4_096)]
QueueLength = Annotated[int, Field(ge=1, le=1_000_000)]


class SourceConfig(ConfigTable):
    """An audio source: a ``name`` and one of device, url, pipe, file."""

    name: Name
    device: str | None = None
    url: Annotated[str, AfterValidator(checks.check_stream_url)] | None = None
    pipe: str | None = None
    file: Path | None = None
    required: bool = True
    channel: Annotated[int, Field(ge=1, le=64)] | None = None
    gain_db: Annotated[float, Field(ge=-60, le=60)] = 0.0
    threshold: Probability | None = None
    operating_point: str | None = None
    false_alarms: Budget | None = None
    active: tuple[Annotated[str, AfterValidator(checks.check_hours)], ...] = ()
    stall_s: Seconds | None = None
    rate: Annotated[int, Field(ge=4_000, le=384_000)] = 16_000
    channels: Annotated[int, Field(ge=1, le=64)] = 1
    encoding: Literal["s16", "s24", "s32", "f32", "f64", "u8"] = "s16"
    realtime: bool = True
    loop: bool = False

    @model_validator(mode="after")
    def _check_kind(self) -> SourceConfig:
        given = [k for k in KINDS if getattr(self, k) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(f"set exactly one of {', '.join(KINDS)}, not {found}")
        checks.check_one_threshold(self.threshold, self.operating_point, self.false_alarms)
        return self

    @property
    def kind(self) -> str:
        """Which of the four kinds of source this is."""
        return next(k for k in KINDS if getattr(self, k) is not None)


class HttpConfig(ConfigTable):
    """The HTTP server of /metrics, /healthz and /readyz."""

    address: Address = "127.0.0.1:9477"
    token_file: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @model_validator(mode="after")
    def _check_tls(self) -> HttpConfig:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("set both tls_cert and tls_key, or neither")
        return self


class LogConfig(ConfigTable):
    """The log on stderr."""

    format: Literal["text", "json"] = "text"
    repeat_s: Seconds = 60.0


class StdoutConfig(ConfigTable):
    """JSON lines on stdout."""

    phase: Phases | Literal["off"] = "both"
    tell: Tell = "onset"
    queue: QueueLength = 1_000


class JsonlConfig(ConfigTable):
    """JSON lines in a file, which is rotated when it reaches ``max_bytes``."""

    path: Path
    max_bytes: Bytes = 10_000_000
    keep: Annotated[int, Field(ge=1, le=1_000)] = 5
    phase: Phases = "both"
    tells: RecordKinds = "events"
    tell: Tell = "onset"
    queue: QueueLength = 10_000


class MqttConfig(ConfigTable):
    """An MQTT broker, which gets every event at least once and in order."""

    host: str
    port: Annotated[int, Field(ge=1, le=65_535)] = 1883
    tls: bool = False
    ca_file: Path | None = None
    user: str | None = None
    password_file: str | None = None
    client_id: str | None = None
    topic: Annotated[str, AfterValidator(checks.check_topic)] = "streamdet"
    discovery: bool = True
    discovery_prefix: Annotated[str, AfterValidator(checks.check_topic)] = "homeassistant"
    phase: Phases = "both"
    tells: RecordKinds = "events"
    tell: Tell = "verified"
    timeout_s: Seconds = 10.0
    queue: QueueLength = 1_000


class WebhookConfig(ConfigTable):
    """A URL to which every event is posted, at least once and in order."""

    url: Annotated[str, AfterValidator(checks.check_http_url)] | None = None
    url_file: str | None = None
    secret_file: str | None = None
    template: Annotated[str, AfterValidator(checks.check_template)] | None = None
    content_type: str = "application/json"
    phase: Phases = "final"
    tells: RecordKinds = "events"
    tell: Tell = "verified"
    timeout_s: Seconds = 10.0
    queue: QueueLength = 1_000

    @model_validator(mode="after")
    def _check_url_given(self) -> WebhookConfig:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("set exactly one of url and url_file")
        return self


class CommandConfig(ConfigTable):
    """A program that is run for every event, with the event as JSON on its stdin."""

    argv: Annotated[tuple[str, ...], Field(min_length=1)]
    phase: Phases = "onset"
    tells: RecordKinds = "events"
    tell: Tell = "verified"
    timeout_s: Seconds = 10.0
    queue: QueueLength = 100


class SpoolConfig(ConfigTable):
    """The folder where events for MQTT and the webhook wait until they are delivered."""

    folder: Path | None = None
    max_bytes: Bytes = 64_000_000


class BackgroundTable(ConfigTable):
    """The backgrounds of sources with a budget of false alarms: where they are kept over restarts,
    and after how many seconds they count half."""

    folder: Path | None = None
    half_life_s: Annotated[float, Field(ge=600, le=2_592_000)] = 86_400.0


class StoreConfig(ConfigTable):
    """The store of events and reviews. ``keep_events`` 0 means no limit."""

    path: Path
    keep_days: Annotated[float, Field(gt=0, le=36_500)] = 365.0
    keep_events: Annotated[int, Field(ge=0)] = 1_000_000
    pictures: bool = True
    redact_speech: bool = False
    queue: QueueLength = 10_000


class ClipsConfig(ConfigTable):
    """Audio clips of events, from ``pre_s`` before the onset to ``post_s`` after the end."""

    folder: Path
    pre_s: Annotated[float, Field(ge=0.2, le=60)] = 2.0
    post_s: Annotated[float, Field(ge=0.2, le=60)] = 3.0
    max_bytes: Bytes = 1_000_000_000
    max_days: Annotated[float, Field(gt=0, le=36_500)] = 30.0
    min_free_bytes: Annotated[int, Field(ge=0)] = 500_000_000


class WebConfig(ConfigTable):
    """The review page. An address other than loopback needs a token."""

    address: Annotated[str, AfterValidator(checks.check_address)]
    token_file: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    hosts: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_access(self) -> WebConfig:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("set both tls_cert and tls_key, or neither")
        if self.token_file is None and self.address != "off" and not is_loopback(self.address):
            raise ValueError(
                f"other machines can reach {self.address}, so it needs a token; set token_file"
            )
        return self


class Config(ConfigTable):
    """The whole configuration. The suffixes of the names are the units."""

    model: Path | None = None
    platform: Literal["auto", "numpy", "onnx", "cpu", "gpu", "tpu"] = "auto"
    threshold: Probability | None = None
    operating_point: str | None = None
    false_alarms: Budget | None = None
    verify: bool = True
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
    background: BackgroundTable = BackgroundTable()
    store: StoreConfig | None = None
    clips: ClipsConfig | None = None
    web: WebConfig | None = None
    incident_gap_s: Seconds = 30.0
    sources: Annotated[tuple[SourceConfig, ...], Field(max_length=1_000)] = ()

    @model_validator(mode="after")
    def _check_consistency(self) -> Config:
        checks.check_one_threshold(self.threshold, self.operating_point, self.false_alarms)
        if self.retry_first_s > self.retry_most_s:
            raise ValueError("retry_first_s must not be above retry_most_s")
        for name in ("clips", "web"):
            if getattr(self, name) is not None and self.store is None:
                raise ValueError(f"{name}: needs a store; add a [store] table or --store")
        if self.clips is not None and self.clips.pre_s > self.ring_s:
            raise ValueError("clips.pre_s must not be above ring_s, which limits the pre-roll")
        slugs: dict[str, str] = {}
        for source in self.sources:
            if (word := slug(source.name)) in slugs:
                raise ValueError(
                    f"sources {slugs[word]!r} and {source.name!r}: names must differ in more than "
                    "case and punctuation; rename one of them"
                )
            slugs[word] = source.name
        return self


def is_loopback(address: str) -> bool:
    """Whether HOST:PORT can only be reached from this machine."""
    return address.rpartition(":")[0] in LOOPBACK


def slug(name: str) -> str:
    """Return a source name for a topic: lower-case letters, digits and _ only."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "source"
