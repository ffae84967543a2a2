"""Time decoding a film and analysing it separately: `... film_stages FILM SECONDS`.

Prints the seconds spent on decoding, and on the analysis of decoded audio for each channel mode.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import print_json
from streamdet.audio import media
from streamdet.audio.source import Block, Source
from streamdet.detection.decision import DecisionConfig
from streamdet.model import bundle
from streamdet.pipeline import engine_choice
from streamdet.pipeline.channels import ChannelMode
from streamdet.pipeline.files import FilePipeline
from streamdet.pipeline.jax_setup import configure_jax

CHANNEL_MODES: dict[str, ChannelMode] = {"mix": "mix", "auto": "auto"}


class DecodedSource(Source):
    """The blocks of a source, decoded in advance and kept in memory."""

    def __init__(self, source: Source) -> None:
        self.rate, self.channels = source.rate, source.channels
        self._blocks = list(source.blocks())

    def blocks(self) -> Iterator[Block]:
        """Iterate over the decoded blocks."""
        return iter(self._blocks)

    def close(self) -> None:
        """Do nothing: the source has been read."""


def main() -> None:
    """Decode the first seconds of the film, then analyse them."""
    path, end_s = Path(sys.argv[1]), float(sys.argv[2])
    began = time.perf_counter()
    for _ in media.open_media(path, 0.0, end_s).blocks():
        pass
    spent = {"decode": time.perf_counter() - began}
    decoded = DecodedSource(media.open_media(path, 0.0, end_s))
    engine = engine_choice.scan_engine(bundle.load(), configure=configure_jax)
    engine.warm_up()
    for name, channels in CHANNEL_MODES.items():
        pipeline = FilePipeline(engine, DecisionConfig(0.6), channels)
        began = time.perf_counter()
        for _ in pipeline.analyse(decoded, "film"):
            pass
        spent[name] = time.perf_counter() - began
    print_json(spent)


if __name__ == "__main__":
    main()
