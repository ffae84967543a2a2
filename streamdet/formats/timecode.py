"""Seconds to the frames and timecodes of an edit (SMPTE 12M), drop-frame too; all by integers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_NAMED = {
    "23.976": Fraction(24_000, 1_001), "23.98": Fraction(24_000, 1_001),
    "29.97": Fraction(30_000, 1_001), "47.952": Fraction(48_000, 1_001),
    "59.94": Fraction(60_000, 1_001), "119.88": Fraction(120_000, 1_001),
}  # fmt: skip
_DAY_S = 86_400


@dataclass(frozen=True)
class Timebase:
    """``fps`` frames a second; the first frame of the file is ``start`` frames into the day.
    ``drop``: two in thirty numbers a minute are left out, but for every tenth, so that
    timecode keeps to the clock."""

    fps: Fraction
    drop: bool = False
    start: int = 0

    @property
    def nominal(self) -> int:
        """Numbers in a second of timecode."""
        return -(-self.fps.numerator // self.fps.denominator)

    def frame(self, seconds: float) -> int:
        """The frame that is shown at a time of the file, from 0; a time within a millisecond of
        the next frame is that one's."""
        return int((Fraction(seconds).limit_denominator(1_000_000) + Fraction(1, 1_000)) * self.fps)

    def timecode(self, frame: int) -> str:
        """The timecode of a frame of the file, ``HH:MM:SS:FF``, with ``;`` where numbers drop."""
        number = self.start + frame
        if self.drop:
            number += self._dropped(number)
        seconds, frames = divmod(number, self.nominal)
        minutes, seconds = divmod(seconds % _DAY_S, 60)
        sign = ";" if self.drop else ":"
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}{sign}{frames:02d}"

    def seconds(self, frame: int) -> Fraction:
        """When a frame of the file begins."""
        return frame / self.fps

    def with_start(self, text: str) -> Timebase:
        """The same, its first frame at this timecode; raises ValueError for what is none."""
        match = re.fullmatch(r"(\d{2}):(\d{2}):(\d{2})[:;.](\d{2,3})", text)
        if match is None:
            raise ValueError("no timecode; write HH:MM:SS:FF")
        hours, minutes, seconds, frames = map(int, match.groups())
        if hours > 23 or minutes > 59 or seconds > 59 or frames >= self.nominal:
            raise ValueError(f"no timecode at {self.nominal} frames a second")
        whole = hours * 60 + minutes
        number = (whole * 60 + seconds) * self.nominal + frames
        if self.drop:
            each = self.nominal // 15
            if minutes % 10 and not seconds and frames < each:
                raise ValueError("this number is left out in drop-frame")
            number -= each * (whole - whole // 10)
        return Timebase(self.fps, self.drop, number)

    def _dropped(self, number: int) -> int:
        """How many numbers were left out before the ``number``-th frame of the day."""
        each = self.nominal // 15
        minute = self.nominal * 60 - each
        tens, rest = divmod(number, 10 * minute + each)
        later = max(0, rest - each) // minute
        return each * (9 * tens + later)


def parse_frame_rate(text: str) -> Timebase:
    """``24``, ``25``, ``29.97df``, ``30000/1001``; raises ValueError for what is no frame rate."""
    drop = text.endswith("df")
    number = text.removesuffix("df")
    try:
        fps = _NAMED.get(number) or Fraction(number)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError("no frame rate; write 24, 25, 29.97df or 30000/1001") from error
    if not 1 <= fps <= 1_000:
        raise ValueError("a frame rate is from 1 to 1,000")
    if drop and fps not in (Fraction(30_000, 1_001), Fraction(60_000, 1_001)):
        raise ValueError("drop-frame is for 29.97 and 59.94 alone")
    return Timebase(fps, drop)
