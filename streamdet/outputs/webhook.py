"""A webhook: every event posted to an address, signed if there is a secret. Wants the extra
"webhook".
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

_TRY_AGAIN = frozenset((408, 425, 429))


class WebhookOutput(Output):
    """Answers of 2xx take a record; 408, 425, 429, 5xx and none at all are tried again, any other
    rejects it."""

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
        """Post it; raises OutputError, whose words do not have the address."""
        body = self._body(record)
        try:
            with self._client.stream(
                "POST", self._url, content=body, headers=self._headers(record, body)
            ) as answer:
                status = answer.status_code  # of its body nothing is read
        except self._httpx.InvalidURL as error:
            raise OutputError("webhook: the address is none", final=True) from error
        except self._httpx.HTTPError as error:
            raise OutputError(f"webhook: {type(error).__name__}") from error
        if not 200 <= status < 300:
            again = status >= 500 or status in _TRY_AGAIN
            raise OutputError(f"webhook: the answer was {status}", final=not again)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _body(self, record: Record) -> bytes:
        if self._template is None:
            return json.dumps(record, separators=(",", ":")).encode()
        return self._template.substitute(_fields(record)).encode()

    def _headers(self, record: Record, body: bytes) -> dict[str, str]:
        headers = {
            "Content-Type": self._config.content_type,
            "Idempotency-Key": f"{record['id']}-{record['phase']}",
        }
        if self._secret is not None:
            at = str(int(time.time()))
            signed = hmac.new(self._secret, at.encode() + b"." + body, hashlib.sha256)
            headers["X-Streamdet-Timestamp"] = at
            headers["X-Streamdet-Signature"] = f"sha256={signed.hexdigest()}"
        return headers


def _fields(record: Record) -> dict[str, Any]:
    """The event's fields as they can stand inside a JSON string."""
    return {name: _inside(record.get(name)) for name in TEMPLATE_FIELDS}


def _inside(value: Any) -> str:
    return json.dumps(value)[1:-1] if isinstance(value, str) else json.dumps(value)
