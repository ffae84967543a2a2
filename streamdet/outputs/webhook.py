"""Webhook output: posts every event to a URL, signed if a secret is configured.

Needs the extra "webhook".
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from string import Template
from typing import Any

from streamdet.config.checks import TEMPLATE_FIELDS
from streamdet.config.schema import WebhookConfig
from streamdet.outputs.queue import Output, OutputError, Record

_RETRY_STATUS = frozenset((408, 425, 429))


class WebhookOutput(Output):
    """Posts records; connections are opened as needed and kept alive.

    A 2xx status means delivered. 408, 425, 429, 5xx and connection errors are retried. Any other
    status rejects the record.
    """

    def __init__(self, config: WebhookConfig, url: str, secret: str | None) -> None:
        try:
            import httpx
        except ImportError as error:
            raise OutputError("webhook: needs httpx: pip install 'streamdet[webhook]'") from error
        self._httpx, self._config, self._url = httpx, config, url
        self._secret = None if secret is None else secret.encode()
        self._template = None if config.template is None else Template(config.template)
        self._client = httpx.Client(timeout=config.timeout_s, follow_redirects=False)

    def deliver(self, record: Record) -> None:
        """Post a record. Raises OutputError, whose message does not contain the URL."""
        body = self._body(record)
        try:
            with self._client.stream(
                "POST", self._url, content=body, headers=self._headers(record, body)
            ) as response:
                status = response.status_code  # the body is not read
        except self._httpx.InvalidURL as error:
            raise OutputError("webhook: the URL is not valid", final=True) from error
        except self._httpx.HTTPError as error:
            raise OutputError(f"webhook: {type(error).__name__}") from error
        if not 200 <= status < 300:
            retry = status >= 500 or status in _RETRY_STATUS
            raise OutputError(f"webhook: status {status}", final=not retry)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _body(self, record: Record) -> bytes:
        if self._template is None:
            return json.dumps(record, separators=(",", ":")).encode()
        return self._template.substitute(_template_values(record)).encode()

    def _headers(self, record: Record, body: bytes) -> dict[str, str]:
        headers = {
            "Content-Type": self._config.content_type,
            "Idempotency-Key": f"{record['id']}-{record['phase']}",
        }
        if self._secret is not None:
            timestamp = str(int(time.time()))
            signature = hmac.new(self._secret, timestamp.encode() + b"." + body, hashlib.sha256)
            headers["X-Streamdet-Timestamp"] = timestamp
            headers["X-Streamdet-Signature"] = f"sha256={signature.hexdigest()}"
        return headers


def _template_values(record: Record) -> dict[str, str]:
    """The fields of a record, escaped for use inside a JSON string."""
    return {name: _escape(record.get(name)) for name in TEMPLATE_FIELDS}


def _escape(value: Any) -> str:
    return json.dumps(value)[1:-1] if isinstance(value, str) else json.dumps(value)
