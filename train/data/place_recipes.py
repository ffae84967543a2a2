"""What is heard in each of the places that budgets of false alarms are measured in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

ANY = "any "
"""``ANY + category`` stands for all labels of a category."""
FILM = "film"


class Bed(NamedTuple):
    """A layer of ambience: clips with any of the labels, at an RMS level in dBFS."""

    labels: tuple[str, ...]
    level_db: tuple[float, float]


class SoundGroup(NamedTuple):
    """Impulsive sounds with any of the labels: how many an hour, and their peaks in dBFS."""

    labels: tuple[str, ...]
    per_hour: float
    peak_db: tuple[float, float]


@dataclass(frozen=True)
class Place:
    """What is heard in a place."""

    name: str
    beds: tuple[Bed, ...]
    sounds: tuple[SoundGroup, ...]


PLACES = (
    Place(
        "quiet street",
        (
            Bed(
                (
                    "residentialhigh", "residentialmed", "residentiallow", "residentiallowlow",
                    "night", "night_village", "summer_night", "street", "birds", "parklandlake",
                    "parklandplane", "background_noise", "traficlow", "crickets",
                ),
                (-62.0, -46.0),
            ),
            Bed(
                ("wind", "soft_wind", "wind_2", "wind_in_trees", "wind_in_palm_trees"),
                (-70.0, -52.0),
            ),
        ),
        (
            SoundGroup(("vehicle", "car_pass", "street_engine", "engine"), 10.0, (-40.0, -22.0)),
            SoundGroup(("dog_bark", "street_dog", "dog_barking"), 6.0, (-40.0, -18.0)),
            SoundGroup(("footsteps", "thud", "dropped_keys"), 6.0, (-44.0, -26.0)),
            SoundGroup(("door", "door_slam", "door_knock"), 4.0, (-40.0, -18.0)),
            SoundGroup(("car_horn", "street_impact"), 2.0, (-40.0, -20.0)),
        ),
    ),
    Place(
        "rain",
        (
            Bed(
                (
                    "rain", "rain_2", "rain_3", "light_rain", "moderate_rain", "heavy_rain",
                    "rain_on_car_roof", "rain_on_leaves", "rain_on_tent", "rain_on_umbrella",
                    "rain_on_window",
                ),
                (-50.0, -30.0),
            ),
        ),
        (
            SoundGroup(("thunder", "thunderstorm"), 12.0, (-34.0, -8.0)),
            SoundGroup(("vehicle", "car_pass", "door", "door_slam"), 6.0, (-40.0, -20.0)),
        ),
    ),
    Place(
        "traffic",
        (
            Bed(
                (
                    "traffic", "busy_street", "road", "highway", "street", "trafichigh",
                    "traficlow", "vehicle", "street_engine",
                ),
                (-45.0, -28.0),
            ),
            Bed(("engine", "vehicle"), (-56.0, -36.0)),
        ),
        (
            SoundGroup(
                ("car_horn", "siren", "ambulance_siren", "street_horn_siren", "skid"),
                30.0, (-32.0, -12.0),
            ),
            SoundGroup(("engine", "vehicle", "car_pass", "train"), 30.0, (-32.0, -14.0)),
            SoundGroup(("street_impact", "door_slam", "metal_impact"), 12.0, (-36.0, -14.0)),
        ),
    ),
    Place(
        "building site",
        (
            Bed(
                (
                    "machinery", "engine", "industrylight", "industryhigh", "construction",
                    "chainsaw", "power_saw", "sawing_wood", "drilling",
                ),
                (-46.0, -30.0),
            ),
        ),
        (
            SoundGroup(
                ("hammering", "hammer", "hammer_nail", "hammer_metal", "blacksmith"),
                240.0, (-32.0, -8.0),
            ),
            SoundGroup(
                (
                    "metal_impact", "metal_strike", "impact", "bricks_fall", "thud", "crash",
                    "street_impact",
                ),
                180.0, (-32.0, -8.0),
            ),
            SoundGroup(("drill", "drilling", "power_saw", "sawing_wood"), 60.0, (-30.0, -12.0)),
            SoundGroup(("jackhammer",), 60.0, (-30.0, -10.0)),
            SoundGroup(
                ("construction", "construction_machinery_impact", "construction_site"),
                60.0, (-30.0, -10.0),
            ),
        ),
    ),
    Place(
        "crowd",
        (
            Bed(
                (
                    "crowd", "quiet_conversation", "cafe", "coffee_shop", "crowded_bar",
                    "restaurant", "tavern", "marketfull", "marketlow", "marketmed", "sportscroud",
                    "casual",
                ),
                (-42.0, -28.0),
            ),
            Bed((ANY + "speech",), (-48.0, -34.0)),
        ),
        (
            SoundGroup(
                ("shouted_speech", "laughter", "voice_nonspeech", "cheer"), 90.0, (-30.0, -10.0)
            ),
            SoundGroup(("clap", "clapping", "applause"), 60.0, (-30.0, -10.0)),
            SoundGroup(("glass_break", "drawer", "dropped_keys", "door"), 20.0, (-34.0, -14.0)),
            SoundGroup(("fireworks", "firecracker", "balloon_pop"), 6.0, (-30.0, -10.0)),
        ),
    ),
    Place(
        "music venue",
        (Bed((ANY + "music",), (-34.0, -20.0)),),
        (
            SoundGroup(
                ("drum", "drum_hit", "drum_loop", "cymbal", "gong", "metal_drum"),
                240.0, (-28.0, -8.0),
            ),
            SoundGroup(("clap", "clapping", "applause", "cheer", "crowd"), 40.0, (-28.0, -10.0)),
            SoundGroup((ANY + "speech",), 20.0, (-28.0, -12.0)),
        ),
    ),
    Place(
        FILM,
        (
            Bed((ANY + "ambient",), (-50.0, -32.0)),
            Bed((ANY + "music", ANY + "speech"), (-38.0, -22.0)),
        ),
        (SoundGroup((ANY + "hard_negative",), 600.0, (-28.0, -14.0)),),
    ),
)  # fmt: skip
"""The last one is made by `mixtures.make_film_mixtures`; its rows only describe it."""
