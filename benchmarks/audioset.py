"""Read AudioSet's records: from TFRecord shards, and shuffled from the converted file.

It needs the balanced set in ../shared/data/audioset/. For comparison, it also measures reading and
decompressing the same archive without parsing it.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import ROOT, print_json, round_digits, summarise, time_calls

CORES, ENVIRONMENT = 1, {}
ARCHIVE = ROOT.parent / "shared" / "data" / "audioset" / "bal_train.tar.xz"
BATCHES, ROWS = 60, 256
ALL_CLIPS = 2_084_320
"""The clips of AudioSet's unbalanced and balanced training sets."""


def count_archive_bytes() -> int:
    """Read all files of the archive; return their number of bytes."""
    with tarfile.open(ARCHIVE) as archive:
        return sum(len(f.read()) for m in archive if (f := archive.extractfile(m)) is not None)


def main() -> None:
    """Print the results as JSON."""
    from train.audioset.batches import ClipBatches
    from train.audioset.store import ClipStore, convert_records

    if not ARCHIVE.is_file():
        print_json({"missing": f"Not measured: {ARCHIVE.name} is missing"})
        return
    with tempfile.TemporaryDirectory() as folder:
        folders, writing = [Path(folder) / str(i) for i in range(3)], []
        for to in folders:
            writing += time_calls(lambda to=to: convert_records(ARCHIVE, to), 1, 0)
        store = ClipStore(folders[0])
        count = len(store)
        made = ClipBatches(store, np.arange(count), ROWS, 1_000, seed=0)
        reading = []
        for _ in range(5):
            drawn = made.iter_batches(0, BATCHES + 1)
            next(drawn)
            reading += time_calls(lambda drawn=drawn: [next(drawn) for _ in range(BATCHES)], 1, 0)
    clips = BATCHES * ROWS
    converted = [count / s for s in writing]
    shuffled = [clips / s for s in reading]
    print_json(
        {
            "clips": count,
            "converted_a_second": summarise(converted),
            "shuffled_a_second": summarise(shuffled),
            "archive_alone_a_second": summarise(
                [count / s for s in time_calls(count_archive_bytes, 3, 0)]
            ),
            "all_of_audioset_converted_h": round_digits(ALL_CLIPS / min(converted) / 3600, 2),
            "all_of_audioset_an_epoch_h": round_digits(ALL_CLIPS / min(shuffled) / 3600, 2),
        }
    )


if __name__ == "__main__":
    main()
