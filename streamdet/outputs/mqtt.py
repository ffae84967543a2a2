"""MQTT output: publishes every event with QoS 1, and sensors for Home Assistant's discovery.

Topics: TOPIC/SOURCE/event has the events as JSON. TOPIC/SOURCE/state is ON from an onset to the
end of the event (retained). TOPIC/status is online or offline (retained; the broker publishes
offline if the connection is lost). TOPIC/incident has the incidents. Needs the extra "mqtt".
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
    """A connection to a broker, which paho keeps open from a thread of its own.

    The constructor checks the configuration and opens nothing; `start` connects. The constructor
    raises OutputError without paho-mqtt, OSError for a bad ``ca_file``, ValueError for a bad
    client id or password.
    """

    def __init__(self, config: MqttConfig, password: str | None, sources: Sequence[str]) -> None:
        try:
            import paho.mqtt.client as paho
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise OutputError("mqtt: needs paho-mqtt: pip install 'streamdet[mqtt]'") from error
        self._config = config
        self._sources = tuple(sources)
        self._disconnect_reason = "not connected yet"
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
        client.connect_async(config.host, config.port, keepalive=30)  # for loop_start

    def start(self) -> None:
        """Connect, and reconnect whenever the connection is lost; returns at once."""
        self._client.loop_start()

    def deliver(self, record: Record) -> None:
        """Publish a record, and wait until the broker has acknowledged it."""
        timeout_s = self._config.timeout_s
        if not self._connected.wait(timeout_s):
            raise OutputError(f"mqtt {self._address}: {self._disconnect_reason}")
        if self._pending is None or self._pending[0] != record:
            self._pending = (record, self._publish(record))
        try:
            for message in self._pending[1]:
                message.wait_for_publish(timeout_s)
                if not message.is_published():
                    raise OutputError(f"mqtt {self._address}: no answer within {timeout_s:g} s")
        except (ValueError, RuntimeError) as error:
            self._pending = None
            raise OutputError(f"mqtt {self._address}: {error}") from error
        self._pending = None

    def close(self) -> None:
        """Publish the status offline, and disconnect."""
        if self._connected.is_set():
            message = self._client.publish(self._topic("status"), OFFLINE, qos=1, retain=True)
            with contextlib.suppress(ValueError, RuntimeError):  # then the broker publishes it
                message.wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def _address(self) -> str:
        return f"{self._config.host}:{self._config.port}"

    def _topic(self, *levels: str) -> str:
        return "/".join((self._config.topic, *levels))

    def _publish(self, record: Record) -> list[Any]:
        body = json.dumps(record, separators=(",", ":"))
        if record["type"] == "incident":
            return [self._client.publish(self._topic("incident"), body, qos=1)]
        source = slug(record["source"])
        messages = [self._client.publish(self._topic(source, "event"), body, qos=1)]
        if self._config.phase == "both":
            state = "ON" if record["phase"] == "onset" else "OFF"
            topic = self._topic(source, "state")
            messages.append(self._client.publish(topic, state, qos=1, retain=True))
        return messages

    def _on_connect(
        self, client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        if reason.is_failure:
            self._disconnect_reason = f"connection refused: {reason}"
            return
        client.publish(self._topic("status"), ONLINE, qos=1, retain=True)
        if self._config.discovery:
            client.subscribe(f"{self._config.discovery_prefix}/status")
            self._announce_sensors()
        self._connected.set()

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        self._disconnect_reason = "cannot connect"

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        self._connected.clear()
        self._disconnect_reason = f"disconnected: {reason}"

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        if message.payload == b"online":  # Home Assistant has restarted
            self._announce_sensors()

    def _announce_sensors(self) -> None:
        """Publish a sensor for each source. Home Assistant ignores sensors that it knows."""
        node = slug(self._config.topic)
        device = {
            "identifiers": [f"streamdet_{node}"],
            "name": f"streamdet {self._config.topic}",
            "manufacturer": "streamdet",
            "sw_version": installed_version(),
        }
        for source in self._sources:
            level = slug(source)
            sensor = {
                "name": source,
                "unique_id": f"streamdet_{node}_{level}_gunshot",
                "device_class": "sound",
                "state_topic": self._topic(level, "state"),
                "json_attributes_topic": self._topic(level, "event"),
                "availability_topic": self._topic("status"),
                "payload_available": ONLINE,
                "payload_not_available": OFFLINE,
                "device": device,
                "origin": {"name": "streamdet", "sw_version": installed_version()},
            }
            topic = f"{self._config.discovery_prefix}/binary_sensor/{node}/{level}/config"
            self._client.publish(topic, json.dumps(sensor), qos=1, retain=True)
