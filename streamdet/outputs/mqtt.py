"""MQTT: every event to a broker, with quality of service 1, and sensors for Home Assistant.

TOPIC/SOURCE/event has the events' JSON, TOPIC/SOURCE/state ON from an onset to its end (retained),
TOPIC/status whether the daemon is there (retained; the broker itself says when it is lost). Wants
the extra "mqtt".
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import Any

from streamdet.config.schema import MqttConfig, slug
from streamdet.outputs.queue import Output, OutputError, Record
from streamdet.version import installed_version

ONLINE, OFFLINE = "online", "offline"


class MqttOutput(Output):
    """A connection that paho keeps up from a thread of its own."""

    def __init__(self, config: MqttConfig, password: str | None, sources: Sequence[str]) -> None:
        try:
            import paho.mqtt.client as paho
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise OutputError("mqtt: needs paho-mqtt: pip install 'streamdet[mqtt]'") from error
        self._config = config
        self._sources = tuple(sources)
        self._why = "not connected yet"
        self._pending: tuple[Record, list[Any]] | None = None
        self._connected = threading.Event()
        client_id = config.client_id or f"streamdet-{socket.gethostname()}-{os.getpid()}"
        self._client = client = paho.Client(CallbackAPIVersion.VERSION2, client_id)
        client.will_set(self._topic("status"), OFFLINE, qos=1, retain=True)
        client.reconnect_delay_set(1, 30)
        client.connect_timeout = config.timeout_s
        if config.user is not None:
            client.username_pw_set(config.user, password)
        if config.tls:
            ca_file = None if config.ca_file is None else str(config.ca_file)
            client.tls_set_context(ssl.create_default_context(cafile=ca_file))
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.connect_async(config.host, config.port, keepalive=30)
        client.loop_start()

    def deliver(self, record: Record) -> None:
        """Publish an event, and wait until the broker has it."""
        timeout = self._config.timeout_s
        if not self._connected.wait(timeout):
            raise OutputError(f"mqtt {self._where}: {self._why}")
        if self._pending is None or self._pending[0] != record:
            self._pending = (record, self._publish(record))
        try:
            for sent in self._pending[1]:
                sent.wait_for_publish(timeout)
                if not sent.is_published():
                    raise OutputError(f"mqtt {self._where}: no answer within {timeout:g} s")
        except (ValueError, RuntimeError) as error:
            self._pending = None
            raise OutputError(f"mqtt {self._where}: {error}") from error
        self._pending = None

    def close(self) -> None:
        """Say that nobody is there any more, and go."""
        if self._connected.is_set():
            gone = self._client.publish(self._topic("status"), OFFLINE, qos=1, retain=True)
            with contextlib.suppress(ValueError, RuntimeError):  # the last will says it then
                gone.wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def _where(self) -> str:
        return f"{self._config.host}:{self._config.port}"

    def _topic(self, *parts: str) -> str:
        return "/".join((self._config.topic, *parts))

    def _publish(self, record: Record) -> list[Any]:
        if record["type"] == "incident":
            body = json.dumps(record, separators=(",", ":"))
            return [self._client.publish(self._topic("incident"), body, qos=1)]
        source = slug(record["source"])
        state = "ON" if record["phase"] == "onset" else "OFF"
        body = json.dumps(record, separators=(",", ":"))
        sent = [self._client.publish(self._topic(source, "event"), body, qos=1)]
        if self._config.phase == "both":
            sent.append(self._client.publish(self._topic(source, "state"), state, 1, retain=True))
        return sent

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        if reason.is_failure:
            self._why = f"refused: {reason}"
            return
        client.publish(self._topic("status"), ONLINE, qos=1, retain=True)
        if self._config.discovery:
            client.subscribe(f"{self._config.discovery_prefix}/status")
            self._announce_sensors()
        self._connected.set()

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        self._why = "can't be reached"

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: Any, reason: Any, _more: Any
    ) -> None:
        self._connected.clear()
        self._why = f"disconnected: {reason}"

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        if message.payload == b"online":  # Home Assistant was begun anew
            self._announce_sensors()

    def _announce_sensors(self) -> None:
        """Tell Home Assistant of a sensor for each source; it keeps none that is told twice."""
        node = slug(self._config.topic)
        device = {
            "identifiers": [f"streamdet_{node}"],
            "name": f"streamdet {self._config.topic}",
            "manufacturer": "streamdet",
            "sw_version": installed_version(),
        }
        for source in self._sources:
            word = slug(source)
            sensor = {
                "name": source,
                "unique_id": f"streamdet_{node}_{word}_gunshot",
                "device_class": "sound",
                "state_topic": self._topic(word, "state"),
                "json_attributes_topic": self._topic(word, "event"),
                "availability_topic": self._topic("status"),
                "payload_available": ONLINE,
                "payload_not_available": OFFLINE,
                "device": device,
                "origin": {"name": "streamdet", "sw_version": installed_version()},
            }
            topic = f"{self._config.discovery_prefix}/binary_sensor/{node}/{word}/config"
            self._client.publish(topic, json.dumps(sensor), qos=1, retain=True)
