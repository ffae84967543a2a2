"""Decodes a source in a separate thread, a few blocks ahead of the reader."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Empty, Full, Queue

from streamdet.audio.source import Block, Source

_QUEUE_BLOCKS = 4
_POLL_S = 0.1


class PrefetchedSource:
    """Yields the blocks of another source, then its error if it has one. At most 4 blocks wait."""

    def __init__(self, source: Source) -> None:
        self._source, self.rate, self.channels = source, source.rate, source.channels
        self._queue: Queue[Block | BaseException | None] = Queue(_QUEUE_BLOCKS)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._decode, name="streamdet-decode", daemon=True)

    def blocks(self) -> Iterator[Block]:
        """Yield the samples from first to last. Raises the error of the source."""
        self._thread.start()
        while True:
            item = self._queue.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """Stop decoding, and close the source."""
        self._closed.set()
        while self._thread.is_alive():
            try:
                self._queue.get_nowait()
            except Empty:
                self._thread.join(_POLL_S)
        self._source.close()

    def _decode(self) -> None:
        last: BaseException | None = None
        try:
            for block in self._source.blocks():
                if not self._put(block):
                    return
        except BaseException as error:  # noqa: BLE001 - `blocks` raises it in the reader's thread
            last = error
        self._put(last)

    def _put(self, item: Block | BaseException | None) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=_POLL_S)
                return True
            except Full:
                continue
        return False
