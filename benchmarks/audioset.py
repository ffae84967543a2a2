"""Reading AudioSet's records: out of TFRecord shards, and shuffled out of the converted file.

The real balanced set where it is beside the checkout, else as many clips of noise. For reference:
the bytes of the same archive read and decompressed, and nothing made of them.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import ROOT, print_json, rounded, seconds_of, spread

CORES, ENVIRONMENT = 1, {}
REAL = ROOT.parent / "shared" / "data" / "audioset" / "bal_train.tar.xz"
BATCHES, ROWS = 60, 256
ALL_CLIPS = 2_084_320
"""The clips of AudioSet's unbalanced and balanced training sets."""


def decompressed() -> int:
    """The bytes of the archive's files."""
    with tarfile.open(REAL) as archive:
        return sum(len(f.read()) for m in archive if (f := archive.extractfile(m)) is not None)


def main() -> None:
    """Print what was found as JSON."""
    from train.audioset.batches import ClipBatches
    from train.audioset.store import ClipStore, convert_records

    if not REAL.is_file():
        print_json({"missing": f"{REAL.name} is not beside this checkout: not measured"})
        return
    with tempfile.TemporaryDirectory() as folder:
        places, writing = [Path(folder) / str(i) for i in range(3)], []
        for to in places:
            writing += seconds_of(lambda to=to: convert_records(REAL, to), 1, 0)
        store = ClipStore(places[0])
        count = len(store)
        made = ClipBatches(store, np.arange(count), ROWS, 1_000, seed=0)
        reading = []
        for _ in range(5):
            drawn = made.iter_batches(0, BATCHES + 1)
            next(drawn)
            reading += seconds_of(lambda drawn=drawn: [next(drawn) for _ in range(BATCHES)], 1, 0)
    clips = BATCHES * ROWS
    converted = [count / s for s in writing]
    shuffled = [clips / s for s in reading]
    print_json(
        {
            "clips": count,
            "converted_a_second": spread(converted),
            "shuffled_a_second": spread(shuffled),
            "archive_alone_a_second": spread([count / s for s in seconds_of(decompressed, 3, 0)]),
            "all_of_audioset_converted_h": rounded(ALL_CLIPS / min(converted) / 3600, 2),
            "all_of_audioset_an_epoch_h": rounded(ALL_CLIPS / min(shuffled) / 3600, 2),
        }
    )


if __name__ == "__main__":
    main()
