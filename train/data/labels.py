"""What the manifest's labels mean to the detector's heads.

The detector's labels are multi-label: a scene may hold several at once. The first is the
one it is for; the next six are the neighbours that fool detectors; the last three are
context.
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
    """The detector's label for a manifest row; a hard negative of no class is "impulsive".

    Raises ValueError for a category that the manifest format does not know.
    """
    if category == "hard_negative":
        return next((head for head, of in _HARD_NEGATIVES.items() if label in of), "impulsive")
    heads = {
        "gunshot": "gunshot",
        "explosion": "explosion",
        "ambient": "ambience",
        "speech": "speech",
        "music": "music",
    }
    if category not in heads:
        raise ValueError(f"no label for the category {category!r}")
    return heads[category]
