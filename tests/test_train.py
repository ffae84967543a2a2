"""Training of detectors on a synthetic corpus: scenes, a few steps, a bundle."""

import importlib
import json
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
import typer
from conftest import train

from streamdet.model import bundle as bundles
from streamdet.model import network
from streamdet.model.config import ModelConfig
from train import recipe
from train.cli import main
from train.data import labels, mixtures
from train.data.config import MixConfig, MixtureSetConfig
from train.data.corpus import Corpus
from train.data.loader import SceneBatches
from train.detector import augmentation, export, loop, sweep, validation
from train.detector import config as configs
from train.detector.config import DetectorConfig, UnknownConfigError
from train.errors import TrainError
from train.evaluation import metrics, scored_sets
from train.markdown import format_markdown_table

MIX = MixConfig(scene_s=2.0, no_shot=0.2)
SMALL = DetectorConfig(
    name="tiny", version="0", mix=MIX, batch=4, steps=6, warmup=2, checkpoint_every=3,
    validate_every=6, matrix_rate=5e-3,
    model=ModelConfig(conv=((8, 5, 2), (8, 5, 2)), cells=(8, 8), labels=labels.LABELS),
)  # fmt: skip


def test_batches_do_not_depend_on_where_one_begins(cache):
    batches = SceneBatches(cache, MIX, seed=3, rows=2)
    late = next(batches.iter_batches(4, 6, workers=0))
    np.testing.assert_array_equal(late.samples, batches(4).samples)


def test_a_run_learns_resumes_exactly_and_becomes_a_bundle(cache, tmp_path, small_validation):
    whole = loop.fit(SMALL, cache, tmp_path / "whole", workers=0)
    stage = loop.fit(SMALL, cache, tmp_path / "staged", workers=0, hours=0.0)
    assert (int(whole.step), int(stage.step)) == (6, 3)
    first = json.loads((tmp_path / "whole" / "log.jsonl").read_text().splitlines()[-1])
    assert first["step"] == 6
    assert {"miss_rate", "rare_f1", "film_recall_at_6"} <= set(first)

    (tmp_path / "cut" / "checkpoints").mkdir(parents=True)
    halfway = tmp_path / "whole" / "checkpoints" / "3"
    halfway.rename(tmp_path / "cut" / "checkpoints" / "3")
    resumed = loop.fit(SMALL, cache, tmp_path / "cut", workers=0)
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(resumed.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)

    corpus = Corpus(cache)
    rare, film = (
        mixtures.make_rare_mixtures(corpus, "val", 1, 4, (6.0,)),
        mixtures.make_film_mixtures(corpus, "val", 1, 1),
    )
    mixtures.write_mixtures([*rare, *film], tmp_path / "val")
    made = export.export_detector(
        SMALL, "tiny", corpus, tmp_path / "whole", tmp_path / "val", tmp_path / "bundle"
    )
    assert set(made.operating_points) == {"sensitive", "balanced", "strict", "default"}
    assert made.default_point == "default"
    began_at = (tmp_path / "whole" / "commit.txt").read_text().strip()
    assert made.card["commit"] == began_at != ""
    assert made.card["data"][0] == {"source": "made", "licence": "CC0", "clips": 20}
    assert 0.2 <= made.card["calibration"]["temperature"] <= 5.0
    strict = made.operating_points["strict"]
    assert strict.figures["budget"] == "1/week"
    assert set(strict.figures["val_film"]) >= {"recall", "false_alarms_h", "f1"}
    assert "background" in made.card
    assert "stage_background" not in made.card


def test_recolouring_shifts_bands_and_masks_some():
    config = replace(SMALL, recolour_db=4.0, band_mask=0.5)
    frames = np.random.default_rng(0).normal(0.0, 0.3, (64, 20, 64)).astype("f")
    moved = np.asarray(augmentation.recolour_frames(config, frames, jax.random.key(0)))
    floor = (np.log(config.frontend.floor) - config.frontend.mean) / config.frontend.scale
    masked = (moved == np.float32(floor)).all(axis=1)
    assert 0.3 < masked.any(axis=1).mean() < 0.7
    assert masked.sum(axis=1).max() <= augmentation.WIDEST_MASK
    shift_db = (moved - frames)[~masked.any(axis=1)] * config.frontend.scale * 10 / np.log(10)
    assert 0.5 < np.abs(shift_db).max() <= 10.01
    np.testing.assert_allclose(shift_db.std(axis=1), 0.0, atol=1e-3)
    plain = replace(SMALL, recolour_db=0.0, band_mask=0.0)
    np.testing.assert_array_equal(
        augmentation.recolour_frames(plain, frames, jax.random.key(0)), frames
    )


def test_a_teachers_heads_are_left_out_of_the_weights(cache, tmp_path, small_validation):
    taught = replace(
        SMALL, matrix_rate=0.0, teacher_weight=1.0, echo=2, mine_every=4, bag_weight=0.1
    )
    run = tmp_path / "taught"
    loop.fit(taught, cache, run, workers=0)
    assert (run / "mined-4.json").is_file()
    params = export.load_detector_params(taught, run)
    assert params["head"]["bias"].shape == (len(labels.LABELS),)


def test_validation_gives_the_scores_of_the_engine(cache, tmp_path):
    detector = bundles.load()
    config = replace(SMALL, model=detector.model, frontend=detector.frontend)
    mixtures.write_mixtures(
        mixtures.make_rare_mixtures(Corpus(cache), "val", 1, 2, (6.0,)), tmp_path
    )
    served = scored_sets.score_scenes(detector, tmp_path, verify=False)
    stacked = np.stack([scored_sets.read_samples(f.path, 16_000) for f in served])
    quick = validation.score_streams(config, detector.params, stacked)
    for file, scores in zip(served, quick, strict=True):
        np.testing.assert_allclose(file.frames.scores[:, 0], scores, atol=1e-4)


def test_mixtures_have_the_requested_event_to_background_ratio(cache):
    made = mixtures.make_rare_mixtures(Corpus(cache), "val", 5, 6, (0.0,))
    with_shot = [mixture for mixture in made if mixture.truth]
    assert with_shot
    for mixture in with_shot:
        (event,) = mixture.truth
        a, b = round(event.onset_s * 16_000), round(event.offset_s * 16_000)
        rest = np.concatenate([mixture.samples[:a], mixture.samples[b + 8_000 :]])
        ratio = np.mean(mixture.samples[a:b] ** 2) / np.mean(rest**2)
        assert 10 * np.log10(ratio) == pytest.approx(3.0, abs=1.5)


def test_the_error_names_an_unknown_config_or_set(tmp_path):
    assert "first" in configs.list_configs()
    with pytest.raises(UnknownConfigError, match="nope"):
        configs.load_detector_config("nope")
    with pytest.raises(scored_sets.SceneSetError, match=r"truth\.csv"):
        scored_sets.score_scenes(bundles.load(), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["prepare", "--data", "nowhere"], "manifest.csv"),
        (["fit", "nope"], "no config 'nope'"),
        (["mixtures", "x", "--cache", "nowhere"], "prepare"),
        (["evaluate", "--set", "nowhere"], "truth.csv"),
        (["evaluate", "--bundle", "nowhere"], "card.json"),
    ],
)
def test_bad_input_to_a_training_command_is_one_line_and_code_2(arguments, says):
    done = train(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_matcher_follows_the_benchmarks_rules():
    hop = 0.1
    scores = np.zeros(100)
    scores[[20, 25, 60]] = [0.9, 0.8, 0.7]
    assert metrics.find_alarms(scores, hop, 0.5) == [
        pytest.approx((2.0, 2.6, 0.9)),
        pytest.approx((6.0, 6.1, 0.7)),
    ]
    hits, false = metrics.match_events(
        metrics.find_alarms(scores, hop, 0.5), [(2.9, 3.0), (8.0, 8.5)]
    )
    assert (hits, false) == ([True, False], 1)
    bed = [(t, t + 0.1, 0.9) for t in (1.0, 4.0, 9.9, 10.1, 31.0)]
    assert metrics.match_events(bed, [(4.0, 4.1)]) == ([True], 4)
    assert metrics.match_spaced(bed, [(4.0, 4.1)]) == ([True], 3)
    counts = metrics.EventCounts(0.5, hits=6, misses=2, false_alarms=2)
    assert (counts.error_rate, counts.f1, counts.recall) == (0.5, 0.75, 0.75)
    assert metrics.match_strongest_onset([(2.0, 2.6, 0.9), (6.0, 6.1, 0.7)], [(2.4, 3.0)]) == (
        [True],
        0,
    )
    assert metrics.match_strongest_onset([(2.0, 2.6, 0.9)], [(2.6, 3.0)]) == ([False], 1)


def test_a_recipe_goes_from_a_folder_to_a_bundle_in_stages(
    data, tmp_path, monkeypatch, small_validation
):
    monkeypatch.setattr(recipe, "VAL_SET", MixtureSetConfig(rare=4, reels=1, bursts=2))
    later = replace(SMALL, steps=3, validate_every=3, seed=2, start="tiny", teacher_weight=1.0)
    monkeypatch.setattr(
        configs, "load_detector_config", {"tiny": SMALL, "later": later}.__getitem__
    )
    names = ("cache", "runs", "val", "scenes", "teachers")
    folders = recipe.RecipeFolders(
        data=data, more=None, **{name: tmp_path / name for name in names}
    )
    progress = recipe.run_recipe("later", tmp_path / "bundle", folders, workers=0, hours=0.0)
    assert "tiny: step 3 of 6. Run the same command again" in progress
    assert "| film |" in recipe.run_recipe("later", tmp_path / "bundle", folders, workers=0)
    assert bundles.load(tmp_path / "bundle").card["seed"] == 2


def test_a_run_begins_from_the_weights_of_another():
    start = network.init_params(SMALL.model, jax.random.key(9))
    more = replace(SMALL.model, labels=(*SMALL.model.labels, "bell"))
    state = loop.create_state(replace(SMALL, model=more), start)
    own = {name: x[..., :-1] for name, x in state.params["head"].items()}
    for a, b in zip(
        jax.tree.leaves({**state.params, "head": own}), jax.tree.leaves(start), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(TrainError, match="another network"):
        loop.create_state(replace(SMALL, model=replace(more, cells=(9,))), start)


def test_a_sweep_does_not_score_a_trial_twice(cache, data, tmp_path, small_validation):
    corpus = Corpus(cache)
    val = [
        *mixtures.make_rare_mixtures(corpus, "val", 1, 2, (6.0,)),
        *mixtures.make_film_mixtures(corpus, "val", 1, 1),
    ]
    mixtures.write_mixtures(val, tmp_path / "val")
    short = replace(SMALL, steps=2, validate_every=2, warmup=1)
    trials = {"one": short, "no averaged weights": replace(short, average=0.0)}
    run = partial(
        sweep.run_sweep, cache=cache, folder=tmp_path / "s", val=tmp_path / "val", data=data
    )
    first = next(run(trials, workers=0))
    rows = list(run(trials, workers=0))
    assert rows[0] == first
    assert [r["trial"] for r in rows] == list(trials)
    assert len((tmp_path / "s" / "results.jsonl").read_text().splitlines()) == 2
    assert sweep.name_trial_folder("no averaged weights") == "no-averaged-weights"
    assert (tmp_path / "s" / "no-averaged-weights" / "bundle" / "card.json").is_file()
    head, _, *lines = format_markdown_table(rows, decimals=3).splitlines()
    assert head.startswith("| trial | rare best error rate |")
    assert lines[1].startswith(f"| no averaged weights | {rows[1]['rare_best_error_rate']:.3f} |")
    with pytest.raises(TrainError, match="no sweep 'nope'"):
        sweep.load_sweep("nope")
    assert len(sweep.load_sweep("ablation")) > 10


def test_every_commands_help_has_an_example():
    for name, command in list_commands(typer.main.get_command(main.app)):
        assert "Example: python -m train " + name in command.help, name


def list_commands(group, prefix=""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from list_commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


def test_every_config_names_its_command_its_time_and_its_score():
    for name in configs.list_configs():
        doc = importlib.import_module(f"train.configs.{name}").__doc__
        assert name in doc, name
        assert "python -m train " in doc, name
        assert "time" in doc.lower(), name
        assert "Score" in doc, name
