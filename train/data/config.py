"""What scenes are made of: every odds and level of the mixer in one frozen record."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MixConfig:
    """How scenes are made; odds in [0, 1] unless a unit is named.

    ``own_share`` of the sounds and beds are a user's own, where there are any of the kind.
    ``mined_share`` of the hard negatives are drawn from those that alarmed last, once any
    have; ``weak_shot`` of the shots are clips whose onset nobody knows; ``at_start`` of the
    sounds begin with the scene, as in a clip that was cut to its sound. ``synthetic_strike`` of
    the other sounds are synthetic; ``cut`` of those that come from ambience, speech or music
    are a single rise of theirs; ``layered`` of all are two of a kind at once. Of the shots and
    impulsive sounds with one onset ``spliced`` go on as another does, shots as shots and others as
    others, and ``dried`` die away faster.
    """

    scene_s: float = 6.0
    no_shot: float = 0.4
    no_negative: float = 0.15
    max_shots: int = 3
    max_negatives: int = 5
    burst: float = 0.3
    field_shot: float = 0.12
    weak_shot: float = 0.03
    synthetic_shot: float = 0.03
    synthetic_strike: float = 0.08
    machinery: float = 0.1
    cut: float = 0.6
    layered: float = 0.15
    spliced: float = 0.0
    dried: float = 0.0
    at_start: float = 0.05
    mined_share: float = 0.35
    own_share: float = 0.0
    ebr_db: tuple[tuple[float, float, float], ...] = (
        (0.05, -10.0, -6.0),
        (0.40, -6.0, 8.0),
        (0.30, 8.0, 20.0),
        (0.25, 20.0, 60.0),
    )
    """(odds, from, to): a range is drawn, then an event-to-background ratio in it, in dB."""
    second_bed: float = 0.35
    speech: float = 0.3
    music: float = 0.3
    quiet_bed: float = 0.12
    room: float = 0.3
    outdoor: float = 0.15
    street: float = 0.12
    distance: float = 0.3
    colour: float = 0.5
    varispeed: float = 0.5
    narrow_band: float = 0.12
    limiter: float = 0.15
    gain_control: float = 0.1
    clipping: float = 0.08
    offset: float = 0.1
    drop_outs: float = 0.04
    codec: float = 0.05
    negative_heads: tuple[tuple[str, float], ...] = (
        ("fireworks", 0.22),
        ("impact", 0.22),
        ("impulsive", 0.27),
        ("drum", 0.10),
        ("thunder", 0.05),
        ("explosion", 0.02),
        ("ambience", 0.20),
        ("speech", 0.06),
        ("music", 0.06),
    )
