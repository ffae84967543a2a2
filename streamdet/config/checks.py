"""Checks of single values in the configuration. Each returns the value, or raises ValueError."""

from __future__ import annotations

import re
from string import Template
from urllib.parse import urlsplit

from streamdet.budget import parse_budget
from streamdet.config import schedule

TEMPLATE_FIELDS = frozenset(
    ("id", "type", "phase", "source", "time", "onset_s", "offset_s", "duration_s", "events",
     "rounds", "score", "level_dbfs")
)  # fmt: skip
"""The fields of an event or an incident that a webhook template can use."""
SCHEMES = frozenset(("rtsp", "rtsps", "rtmp", "http", "https", "srt", "udp", "rtp", "tcp"))


def check_name(text: str) -> str:
    """Allow 1 to 64 printable characters."""
    if not text or len(text) > 64 or not text.isprintable():
        raise ValueError("must have 1 to 64 printable characters")
    return text


def check_address(text: str) -> str:
    """Allow HOST:PORT, or "off"."""
    host, colon, port = text.rpartition(":")
    valid = colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536
    if text != "off" and not valid:
        raise ValueError("must be HOST:PORT or off")
    return text


def check_stream_url(text: str) -> str:
    """Allow a URL with one of `SCHEMES`."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in SCHEMES and bool(parts.netloc)
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"not the URL of a stream; its scheme must be one of {_join(SCHEMES)}")
    return text


def check_http_url(text: str) -> str:
    """Allow an http:// or https:// URL."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("must be an http:// or https:// URL")
    return text


def check_topic(text: str) -> str:
    """Allow an MQTT topic to publish to: no wildcards, no empty first or last level."""
    if not text or re.search(r"[#+\x00]", text) or text.startswith(("/", "$")) or text[-1] == "/":
        raise ValueError("must not be empty, contain #, + or NUL, start with / or $, or end with /")
    return text


def check_template(text: str) -> str:
    """Allow a `string.Template` with fields of `TEMPLATE_FIELDS`."""
    template = Template(text)
    if not template.is_valid():
        raise ValueError("contains a $ without a field name; write $$ for a dollar sign")
    if unknown := set(template.get_identifiers()) - TEMPLATE_FIELDS:
        raise ValueError(f"unknown field ${min(unknown)}; use {_join(TEMPLATE_FIELDS)}")
    return text


def check_hours(text: str) -> str:
    """Allow the hours of `streamdet.config.schedule`."""
    schedule.parse_hours(text)
    return text


def check_budget(text: str) -> str:
    """Allow the budgets of `streamdet.budget`."""
    parse_budget(text)
    return text


def check_one_threshold(threshold: object, operating_point: object, false_alarms: object) -> None:
    """Allow at most one of the three keys that set a threshold."""
    keys = {
        "threshold": threshold, "operating_point": operating_point, "false_alarms": false_alarms,
    }  # fmt: skip
    given = [key for key, value in keys.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"set {' or '.join(given)}, not {'both' if len(given) == 2 else 'all'}")


def _join(words: frozenset[str]) -> str:
    return ", ".join(sorted(words))
