"""The settings of scenes: what the mixer draws, and how many there are in a set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MixConfig:
    """How scenes are mixed; a field without a unit is a probability in [0, 1].

    Shots: ``field_shot`` of them are far shots of forest recorders, ``weak_shot`` are clips whose
    onset is not known, ``synthetic_shot`` are synthesised.
    Other sounds: ``synthetic_strike`` of them are synthesised, ``mined_share`` are drawn from the
    clips that caused false alarms last, once there are any. ``cut`` of those from ambience, speech
    or music are one sudden rise of the clip.
    All sounds: ``layered`` of them are two of a kind at once, ``at_start`` begin with the scene, as
    in a clip cut to its sound. Of those with one onset, ``spliced`` take over the tail of another
    sound (a shot that of a shot, others that of others), and ``dried`` decay faster.
    ``recorded_scene`` of the scenes are field recordings of shots, in their own background, where
    the times of all shots were measured. ``digital_silence`` of the scenes have a part of zeros.
    ``two_microphones`` of them are the mean of two microphones up to 3 ms apart.
    ``own_share`` of the sounds and beds come from the user's own clips, if there are any of the
    kind.
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
    recorded_scene: float = 0.0
    digital_silence: float = 0.0
    two_microphones: float = 0.0
    ebr_db: tuple[tuple[float, float, float], ...] = (
        (0.05, -10.0, -6.0),
        (0.40, -6.0, 8.0),
        (0.30, 8.0, 20.0),
        (0.25, 20.0, 60.0),
    )
    """(probability, lowest, highest): the event-to-background ratio in dB is uniform in a range."""
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


@dataclass(frozen=True, kw_only=True)
class SceneSetConfig:
    """A set of stored scenes: ``count`` scenes of a mix and a seed.

    ``mined_by`` names the shipped bundle whose false alarms on single clips are drawn with
    ``mix.mined_share``; empty: none are. ``heads`` names the configs of the teacher heads that
    answer the scenes.
    """

    mix: MixConfig
    seed: int
    count: int
    mined_by: str = ""
    heads: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MixtureSetConfig:
    """A fixed set of scenes to measure on (`train.data.mixtures`): the seed, how many scenes of
    each kind, and the event-to-background ratios of the rare ones in dB."""

    seed: int = 2026
    rare: int = 240
    reels: int = 60
    bursts: int = 60
    ebrs_db: tuple[float, ...] = (-6.0, 0.0, 6.0)
