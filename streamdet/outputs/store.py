"""The event store as an output: what a daemon finds is written by a thread of its own."""

from __future__ import annotations

from streamdet.outputs.queue import Output, OutputError, Record
from streamdet.store.store import EventStore, StoreError


class StoreOutput(Output):
    """Takes events; under ``curve`` and ``incident`` there may stand what other outputs are not
    told."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    def deliver(self, record: Record) -> None:
        """Write it; raises OutputError where the disk does not take it."""
        try:
            self._store.add(record, record.get("curve"), record.get("incident"))
        except StoreError as error:
            raise OutputError(f"store {error}") from error
