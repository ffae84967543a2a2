"""Simulate a recorder: microphone, gain control, clipping, codec and 16 bits."""

from __future__ import annotations

import numpy as np

from train.data import codecs, effects
from train.data.config import MixConfig

CODEC_ODDS = {
    "mp3": 0.25, "vorbis": 0.25, "aac": 0.2, "telephone": 0.17, "gsm": 0.1, "opus": 0.03,
}  # fmt: skip


BAND_EDGES = (3_400.0, 3_900.0, 3_900.0, 5_000.0, 5_400.0, 5_900.0)
"""Hz: telephones, and recordings at 8,000, 11,025 and 12,000 Hz."""


def simulate_recorder(cfg: MixConfig, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Process a scene as a recorder would: (n,) float32 in [-1, 1], without a delay."""
    responses = []
    if rng.random() < 0.4:
        corner = rng.uniform(20.0, 250.0)
        responses.append(lambda f: effects.compute_high_pass(f, corner))
    if rng.random() < cfg.narrow_band:
        edge = float(rng.choice(BAND_EDGES))
        responses.append(lambda f: effects.compute_low_pass(f, edge, 16))
    elif rng.random() < 0.3:
        responses.append(lambda f: effects.draw_colour_response(f, rng))
    if rng.random() < cfg.two_microphones:
        x = effects.average_two_microphones(x, rng)
    if responses:
        x = effects.apply_filters(x, None, responses)
    if rng.random() < cfg.gain_control:
        x = effects.apply_gain_control(x, rng.uniform(-36.0, -18.0), np.exp(rng.uniform(-2.3, 1.1)))
    if rng.random() < cfg.limiter:
        x = effects.apply_limiter(x, rng.uniform(0.0, 18.0))
    peak = float(np.max(np.abs(x))) + 1e-9
    x = x * np.float32(10.0 ** (rng.uniform(-40.0, 0.0) / 20.0) / peak)
    if rng.random() < cfg.clipping:
        x = np.clip(x * 10.0 ** (rng.uniform(0.0, 15.0) / 20.0), -0.99, 0.99)
    if rng.random() < cfg.drop_outs:
        x = effects.insert_dropouts(x, rng)
    if rng.random() < cfg.offset:
        x = x + np.float32(rng.uniform(-0.02, 0.02))
    if rng.random() < cfg.codec:
        name = list(CODEC_ODDS)[rng.choice(len(CODEC_ODDS), p=list(CODEC_ODDS.values()))]
        x = codecs.apply_codec(name, x.astype(np.float32), float(rng.random()))
    return (np.round(np.clip(x, -1.0, 1.0) * 32767.0) / 32768.0).astype(np.float32)
