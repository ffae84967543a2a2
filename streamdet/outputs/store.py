"""The event store as an output."""

from __future__ import annotations

from streamdet.outputs.queue import Output, OutputError, Record
from streamdet.store.store import EventStore, StoreError


class StoreOutput(Output):
    """Writes events to the store.

    A record may have two keys that other outputs do not get: ``curve``, the scores around the
    event, and ``incident``, the id of its incident.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store

    def deliver(self, record: Record) -> None:
        """Write an event. Raises OutputError if the disk does not accept it."""
        try:
            self._store.add(record, record.get("curve"), record.get("incident"))
        except StoreError as error:
            raise OutputError(f"store {error}") from error
