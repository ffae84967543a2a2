"""Map the manifest's labels to the detector's heads.

A scene may have several labels at once. The first label is the detector's purpose, the next six
are sounds that cause false alarms, and the last three are context.
"""

from __future__ import annotations

LABELS = (
    "gunshot",
    "explosion",
    "fireworks",
    "thunder",
    "impact",
    "drum",
    "impulsive",
    "speech",
    "music",
    "ambience",
)
GUNSHOT = LABELS.index("gunshot")
CONTEXT = ("speech", "music", "ambience")

_HARD_NEGATIVES = {
    "fireworks": {"fireworks", "firecracker", "party_popper"},
    "thunder": {"thunder", "thunderstorm"},
    "drum": {"drum", "drum_hit", "cymbal", "gong", "metal_drum", "woodblock"},
    "impact": {
        "ball_kick", "basketball", "bat_hit", "blacksmith", "bowling", "bricks_fall",
        "car_crash", "chopping_vegetables", "clanking_dishes", "coin_drop", "crash", "door",
        "door_knock", "door_slam", "drawer", "dropped_keys", "dropped_object",
        "dropping_stones", "gavel", "glass_break", "glass_smash", "golf", "hammer",
        "hammer_metal", "hammer_nail", "hatchet", "impact", "metal_door", "metal_strike",
        "nails_from_box", "pool_balls", "punch", "rockfall", "slap", "stone_door",
        "table_tennis", "tennis", "thud", "window", "wood_chopping",
    },
}  # fmt: skip


def find_head(category: str, label: str) -> str:
    """Return the detector's label for a manifest row.

    A hard negative without a class of its own is "impulsive". Raises ValueError for an unknown
    category.
    """
    if category == "hard_negative":
        return next((h for h, labels in _HARD_NEGATIVES.items() if label in labels), "impulsive")
    heads = {
        "gunshot": "gunshot",
        "explosion": "explosion",
        "ambient": "ambience",
        "speech": "speech",
        "music": "music",
    }
    if category not in heads:
        raise ValueError(f"no head for the category {category!r}")
    return heads[category]
