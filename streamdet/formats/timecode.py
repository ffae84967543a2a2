"""Converts seconds to the frames and timecodes of an edit (SMPTE ST 12), drop-frame included.

All arithmetic is exact, in integers and fractions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_NAMED_RATES = {
    "23.976": Fraction(24_000, 1_001), "23.98": Fraction(24_000, 1_001),
    "29.97": Fraction(30_000, 1_001), "47.952": Fraction(48_000, 1_001),
    "59.94": Fraction(60_000, 1_001), "119.88": Fraction(120_000, 1_001),
}  # fmt: skip
_DAY_S = 86_400


@dataclass(frozen=True)
class Timebase:
    """The frame rate and the first timecode of a file.

    Attributes:
        fps: Frames per second.
        drop: Drop-frame: at 29.97 frames per second the first two frame numbers of every minute
            are skipped, except in every tenth minute, so that timecode follows the clock.
        start: The number of the first frame, counted from timecode 00:00:00:00.
    """

    fps: Fraction
    drop: bool = False
    start: int = 0

    @property
    def nominal(self) -> int:
        """The number of frame numbers in a second of timecode: 30 at 29.97 frames per second."""
        return -(-self.fps.numerator // self.fps.denominator)

    def frame(self, seconds: float) -> int:
        """Return the frame, from 0, that is shown at a time of the file.

        A time less than a millisecond before a frame counts as that frame.
        """
        return int((Fraction(seconds).limit_denominator(1_000_000) + Fraction(1, 1_000)) * self.fps)

    def timecode(self, frame: int) -> str:
        """Return the timecode of a frame of the file: HH:MM:SS:FF, or HH:MM:SS;FF in drop-frame."""
        number = self.start + frame
        if self.drop:
            number += self._skipped_numbers(number)
        seconds, frames = divmod(number, self.nominal)
        minutes, seconds = divmod(seconds % _DAY_S, 60)
        sign = ";" if self.drop else ":"
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}{sign}{frames:02d}"

    def seconds(self, frame: int) -> Fraction:
        """Return when a frame of the file starts, in seconds."""
        return frame / self.fps

    def with_start(self, text: str) -> Timebase:
        """Return this timebase with another first timecode. Raises ValueError."""
        match = re.fullmatch(r"(\d{2}):(\d{2}):(\d{2})[:;.](\d{2,3})", text)
        if match is None:
            raise ValueError("not a timecode; write HH:MM:SS:FF")
        hours, minutes, seconds, frames = map(int, match.groups())
        if hours > 23 or minutes > 59 or seconds > 59 or frames >= self.nominal:
            raise ValueError(
                f"out of range; the last timecode is 23:59:59:{self.nominal - 1:02d} at this rate"
            )
        total_minutes = hours * 60 + minutes
        number = (total_minutes * 60 + seconds) * self.nominal + frames
        if self.drop:
            skipped = self.nominal // 15
            if minutes % 10 and not seconds and frames < skipped:
                raise ValueError(f"skipped in drop-frame; the next timecode ends in {skipped:02d}")
            number -= skipped * (total_minutes - total_minutes // 10)
        return Timebase(self.fps, self.drop, number)

    def _skipped_numbers(self, frame: int) -> int:
        """Return how many frame numbers are skipped before a frame of the day."""
        skipped = self.nominal // 15
        minute = self.nominal * 60 - skipped
        tens, rest = divmod(frame, 10 * minute + skipped)
        minutes = max(0, rest - skipped) // minute
        return skipped * (9 * tens + minutes)


def parse_frame_rate(text: str) -> Timebase:
    """Parse ``24``, ``25``, ``29.97df`` or ``30000/1001``. Raises ValueError."""
    drop = text.endswith("df")
    number = text.removesuffix("df")
    try:
        fps = _NAMED_RATES.get(number) or Fraction(number)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError("not a frame rate; write 24, 25, 29.97df or 30000/1001") from error
    if not 1 <= fps <= 1_000:
        raise ValueError("a frame rate must be from 1 to 1000")
    if drop and fps not in (Fraction(30_000, 1_001), Fraction(60_000, 1_001)):
        raise ValueError("drop-frame exists only for 29.97 and 59.94; remove df")
    return Timebase(fps, drop)
