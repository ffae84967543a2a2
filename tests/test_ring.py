"""The ring buffer: two threads, exact counts, and a count of dropped samples."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet.audio.ring import RingBuffer


@given(
    capacity=st.integers(1, 300),
    writes=st.lists(st.integers(1, 200), min_size=1, max_size=40),
    read=st.integers(1, 250),
)
@settings(max_examples=60, deadline=None)
def test_with_two_threads_every_sample_is_read_once_in_order_or_counted_as_dropped(
    capacity, writes, read
):
    ring = RingBuffer(capacity, 2)
    total = sum(writes)
    numbered = np.arange(total, dtype=np.float32)

    def writer():
        at = 0
        for size in writes:
            block = numbered[at : at + size]
            ring.write(np.stack([block, -block], axis=1))
            at += size
        ring.close()

    thread = threading.Thread(target=writer)
    thread.start()
    out = np.zeros((read, 2), np.float32)
    seen, gaps, expected = 0, 0, 0
    while not ring.ended:
        start, count = ring.read_into(out, 1.0)
        assert start >= expected
        gaps += start - expected
        np.testing.assert_array_equal(out[:count, 0], numbered[start : start + count])
        np.testing.assert_array_equal(out[:count, 1], -numbered[start : start + count])
        seen += count
        expected = start + count
    thread.join()
    assert gaps == ring.dropped
    assert seen + ring.dropped == total == ring.written
    assert ring.unread == 0


def test_overflow_drops_the_oldest():
    ring = RingBuffer(5, 1)
    assert ring.write(np.arange(4, dtype=np.float32)[:, None]) == 0
    assert ring.write(np.arange(4, 8, dtype=np.float32)[:, None]) == 3
    out = np.zeros((9, 1), np.float32)
    assert ring.read_into(out, 0.0) == (3, 5)
    assert out[:5, 0].tolist() == [3, 4, 5, 6, 7]
    assert ring.dropped == 3


def test_samples_can_be_copied_after_they_were_read():
    ring = RingBuffer(10, 1)
    ring.write(np.arange(8, dtype=np.float32)[:, None])
    out = np.zeros((8, 1), np.float32)
    ring.read_into(out, 0.0)
    ring.write(np.arange(8, 12, dtype=np.float32)[:, None])
    again = np.zeros((6, 1), np.float32)
    assert ring.copy_history(0, again) == (2, 4)
    assert again[:4, 0].tolist() == [2, 3, 4, 5]
    assert ring.copy_history(10, again) == (10, 2)
    assert ring.unread == 4


def test_reading_does_not_wait_longer_than_asked():
    ring = RingBuffer(10, 1)
    assert ring.read_into(np.zeros((4, 1), np.float32), 0.01) == (0, 0)


def test_a_block_allocates_no_memory():
    import tracemalloc

    ring, block, out = (
        RingBuffer(16_000, 2),
        np.zeros((320, 2), np.float32),
        np.zeros((320, 2), "f"),
    )
    ring.write(block)
    ring.read_into(out, 0.0)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(2_000):
        ring.write(block)
        ring.read_into(out, 0.0)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 4_096


@pytest.mark.parametrize("shape", [(4,), (4, 3)])
def test_a_block_with_another_channel_count_is_refused(shape):
    with pytest.raises(ValueError, match="channels"):
        RingBuffer(8, 2).write(np.zeros(shape, np.float32))


def test_writing_after_close_is_an_error():
    ring = RingBuffer(8, 1)
    ring.close()
    with pytest.raises(ValueError, match="closed"):
        ring.write(np.zeros((1, 1), np.float32))
