"""The second stage: candidates, windows, and what is reported of them."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet import demo
from streamdet.audio.source import Block
from streamdet.detection import verification
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.frames import FrameGrid
from streamdet.detection.numpy_engine import NumpyEngine
from streamdet.detection.window_scorer import WindowScorer
from streamdet.model import bundle as bundles
from streamdet.model import verifier as verifiers
from streamdet.model.bundle import BundleError, OperatingPoint, Verifier
from streamdet.model.config import FrontendConfig, ModelConfig, VerifierConfig
from streamdet.model.numpy_verifier import NumpyVerifier
from streamdet.pipeline.source_pipeline import SourcePipeline

GRID = FrameGrid(16_000, 160, 4, ("gunshot",))
SMALL = VerifierConfig(
    conv=((4, 5, 5, 2, 2), (8, 3, 3, 2, 2), (8, 3, 3, 1, 4)), dense=16, cells=8,
    before=10, core=4, after=5,
)  # fmt: skip


def make_verifier(config=SMALL, threshold=0.3, seed=0):
    params = verifiers.init_params(config, jax.random.key(seed))
    return Verifier(config, jax.tree.map(np.asarray, params), threshold)


@pytest.mark.parametrize("config", [SMALL, VerifierConfig()])
def test_numpy_scores_as_jax_does(config):
    verifier = make_verifier(config)
    frames = np.random.default_rng(1).normal(size=(config.window * config.stride, config.bands))
    frames = frames.astype(np.float32)
    numpy_network = NumpyVerifier(config, verifier.params)
    left, right = config.reach
    features = numpy_network.encode(frames)[left : config.window - right]
    network = verifiers.VerifierNetwork(config, inside=True)
    logits = verifiers.apply(network, verifier.params, jax.numpy.asarray(frames[None]))
    first = config.before - left
    expected = jax.nn.sigmoid(logits)[0, first : first + config.core, 0]
    np.testing.assert_allclose(numpy_network.score(features[None])[0], expected, atol=1e-5)


@pytest.mark.parametrize("config", [SMALL, VerifierConfig()])
def test_windows_that_overlap_score_as_jax_scores_each(config):
    verifier = make_verifier(config)
    log_mel = np.random.default_rng(1).normal(size=(200, config.stride, config.bands))
    log_mel = log_mel.astype(np.float32)
    starts = [0, 3, 3 + config.core, 200 - config.window]
    scores = WindowScorer(FrontendConfig(), verifier).score_windows(log_mel, starts)
    windows = np.stack([log_mel[at : at + config.window] for at in starts])
    network = verifiers.VerifierNetwork(config, inside=True)
    logits = verifiers.apply(
        network, verifier.params, windows.reshape(len(starts), -1, config.bands)
    )
    first = config.before - config.reach[0]
    expected = jax.nn.sigmoid(logits[:, first : first + config.core, 0])
    np.testing.assert_allclose(scores, expected, atol=1e-5)


class LevelScorer:
    """A verifier whose scores depend on all frames of a window."""

    config, silence = SMALL, 0.0

    def score_windows(self, log_mel, starts):
        windows = np.stack([log_mel[at : at + SMALL.window] for at in starts])
        levels, core = windows.mean(axis=(2, 3)), slice(SMALL.before, SMALL.before + SMALL.core)
        return levels[:, core] + windows.mean(axis=(1, 2, 3))[:, None]


def run_chunked(log_mel, scores, sizes):
    """All final scores, fed in chunks of these numbers of frames."""
    scorer = LevelScorer()
    state, out, windows = verification.init(scorer), [], 0
    first = 0
    for size in [*sizes, len(scores)]:
        last = min(first + size, len(scores))
        state, final = verification.step(
            scorer, 0.5, state, [log_mel[first:last]], scores[first:last],
            ending=last == len(scores) and first < last,
        )  # fmt: skip
        assert final.start == sum(map(len, out))
        out.append(final.scores)
        windows += final.windows
        first = last
    return np.concatenate(out), windows


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 120),
    st.lists(st.integers(0, 40), max_size=12),
    st.integers(0, 2**32 - 1),
    st.floats(0.0, 1.0),
)
def test_chunks_change_no_score_and_quiet_frames_keep_theirs(count, sizes, seed, loud):
    rng = np.random.default_rng(seed)
    log_mel = rng.normal(size=(count, SMALL.stride, SMALL.bands)).astype(np.float32)
    scores = (rng.random(count) * np.where(rng.random(count) < loud, 1.0, 0.5)).astype(np.float32)
    whole, windows = run_chunked(log_mel, scores, [])
    chunked, chunked_windows = run_chunked(log_mel, scores, sizes)
    np.testing.assert_allclose(chunked, whole, atol=1e-6)
    assert len(whole) == count
    assert windows == chunked_windows <= -(-count // 1)
    if not windows:
        np.testing.assert_array_equal(whole, scores)


def test_frames_without_a_candidate_are_final_at_once_and_candidates_after_their_window():
    scorer = LevelScorer()
    ones = np.ones((20 + SMALL.window, SMALL.stride, SMALL.bands), np.float32)
    state, final = verification.step(
        scorer,
        0.5,
        verification.init(scorer),
        [ones[:20]],
        np.array([0.1] * 19 + [0.6], np.float32),
    )
    assert len(final.scores) == 19
    after = SMALL.core + SMALL.after - 1
    for frame in range(after):
        state, final = verification.step(scorer, 0.5, state, [ones[:1]], np.zeros(1, np.float32))
        assert bool(len(final.scores)) == (frame == after - 1)
    np.testing.assert_allclose(final.scores[: SMALL.core], 2.0, atol=1e-6)


def detect(scorer, threshold=0.5, block=1600):
    engine = NumpyEngine(bundles.load(), block_frames=1)
    pipeline = SourcePipeline(
        engine, DecisionConfig(threshold), 16_000, 1, scorer=scorer, keep_scores=True
    )
    samples, found = demo.scene()[: 10 * 16_000], []
    for start in range(0, len(samples), block):
        found += pipeline.feed(Block(start, samples[start : start + block, None]))
    found += pipeline.finish()
    return found, pipeline


class FixedScorer(WindowScorer):
    """A verifier that answers the same to every window."""

    def __init__(self, score):
        super().__init__(FrontendConfig(), make_verifier(VerifierConfig()))
        self.score = score

    def score_windows(self, log_mel, starts):
        assert starts[-1] + self.config.window <= len(log_mel)
        return np.full((len(starts), self.config.core), self.score, np.float32)


def test_an_event_has_an_onset_at_once_then_the_verifiers_then_its_end():
    found, pipeline = detect(FixedScorer(0.8))
    assert pipeline.windows >= 1
    onsets = [d for d in found if d.phase == "onset" and d.verified is None]
    verified = [d for d in found if d.phase == "onset" and d.verified]
    finals = [d for d in found if d.phase == "final"]
    assert len(onsets) == len(verified) == len(finals) >= 1
    for onset, confirmed, final in zip(onsets, verified, finals, strict=True):
        assert onset.onset == confirmed.first_onset == final.first_onset
        assert confirmed.score == pytest.approx(0.8)
        assert (confirmed.threshold, onset.threshold) == (0.5, 0.3)
        assert final.verified
        assert final.stage_score > 0.3
        assert found.index(onset) < found.index(confirmed) < found.index(final)


def test_what_the_verifier_refuses_ends_unverified():
    found, _ = detect(FixedScorer(0.2))
    assert not any(d.verified for d in found)
    finals = [d for d in found if d.phase == "final"]
    assert finals
    assert {d.verified for d in finals} == {False}
    assert {round(d.score, 3) for d in finals} == {0.2}


@pytest.mark.parametrize("block", [333, 50_000])
def test_blocks_of_samples_change_no_detection(block):
    scorer = WindowScorer(FrontendConfig(), make_verifier(threshold=0.1))
    expected, _ = detect(scorer, 0.3, 1600)
    found, _ = detect(scorer, 0.3, block)
    key = lambda d: (d.phase, d.verified is None, d.onset, d.offset, round(d.score, 4), d.verified)  # noqa: E731
    assert sorted(map(key, found), key=str) == sorted(map(key, expected), key=str)


def test_a_bundle_keeps_its_verifier(tmp_path):
    first, verifier = bundles.load(), make_verifier()
    assert isinstance(first.frontend, FrontendConfig)
    assert isinstance(first.model, ModelConfig)
    bundles.save(
        tmp_path, name="two", version="1", frontend=first.frontend, model=first.model,
        params=first.params, operating_points={"sensitive": OperatingPoint(0.5, {}, 0.8)},
        default_point="sensitive", about={}, verifier=verifier,
    )  # fmt: skip
    loaded = bundles.load(tmp_path)
    assert loaded.verifier is not None
    assert loaded.verifier.config == SMALL
    assert loaded.verifier.candidate_threshold == 0.3
    assert loaded.operating_points["sensitive"].stage_threshold == 0.8
    assert loaded.sha256 != first.sha256
    path = tmp_path / "verifier.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match="sha256"):
        bundles.load(tmp_path)
