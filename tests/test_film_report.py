"""The film table, on synthetic films with labels named like the film studio's."""

import json
from functools import partial

import numpy as np
import pytest
import soundfile
from conftest import train

from streamdet import demo
from streamdet.constants import RATE
from streamdet.model import bundle as bundles
from train.errors import TrainError
from train.evaluation import film_table
from train.evaluation.film_table import FilmWindow


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """70 s of faint noise with the 20 s demo scene at 10 s and at 40 s. The scene's shots are at
    4.2, 9.5 and 15.25 s."""
    folder = tmp_path_factory.mktemp("films")
    samples = np.random.default_rng(0).normal(0, 1e-4, 70 * RATE).astype("f")
    for start_s in (10, 40):
        scene = demo.scene()[: 20 * RATE]
        samples[start_s * RATE : start_s * RATE + len(scene)] += scene
    soundfile.write(folder / "movie.wav", samples, RATE)
    return folder / "movie.wav"


report = partial(train, "film-report")


def test_labelled_windows_are_found_and_others_counted(movie, tmp_path):
    """Labelled are 10 to 30 s and, without a shot, 60 s; labels of 40 to 60 s are missing."""
    for name in ("00-00-10.000", "00-00-20.000", "00-01-00.000"):
        (tmp_path / f"movie_{name}.wav").touch()
    done = report(movie, "--labels", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["film"] == "movie"
    assert row["correct predictions"] == "2 / 3"
    assert row["false positives"] == 2
    assert row["model"].startswith("streamdet-third")
    table = report(movie, "--labels", tmp_path).stdout.splitlines()
    assert table[0].startswith("| model | data | loss | threshold | film | correct predictions |")
    assert len(table) == 3


def test_a_csv_file_is_read_like_file_names(movie, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("film,start\nmovie.wav,10\nmovie,0:00:20.0\nmovie,1:00\n")
    by_time = film_table.read_film_windows(table)
    table.write_text("name\nmovie_00-00-10.000.wav\nmovie_0-00-20.wav\nmovie_00-01-00.000\n")
    assert (
        film_table.read_film_windows(table)
        == by_time
        == [FilmWindow("movie", s) for s in (10.0, 20.0, 60.0)]
    )
    windows = film_table.read_film_windows(table)
    strict = film_table.make_film_table(bundles.load(), [movie], windows, threshold=0.9999999)
    assert strict[0]["false positives"] <= 2
    assert strict[0]["threshold"] == 1.0


def test_windows_with_files_are_scored_alone(movie, tmp_path):
    samples, _ = soundfile.read(movie, dtype="float32")
    for folder, start_s in (("gunshot", 10), ("gunshot", 40), ("other", 0), ("other", 20)):
        (tmp_path / folder).mkdir(exist_ok=True)
        part = samples[start_s * RATE : (start_s + 10) * RATE]
        soundfile.write(tmp_path / folder / f"movie_00-00-{start_s:02d}.000.wav", part, RATE)
    rows = film_table.make_film_table(bundles.load(), [], film_table.read_film_windows(tmp_path))
    assert rows[0]["correct predictions"] == "2 / 2"
    assert rows[0]["false positives"] == 1


def test_invalid_labels_are_refused(movie, tmp_path):
    (tmp_path / "shot1.wav").touch()
    table = tmp_path / "labels.csv"
    for text, asked, says in (
        ("film,start\nmovie,soon\n", (movie,), "H:MM:SS"),
        ("film,start\nother,3\n", (movie,), "no film given for the labels of other"),
        ("film,start\nmovie,3\n", (), "or its windows as files"),
        ("film,start\n", (movie,), "no label"),
    ):
        table.write_text(text)
        done = report(*asked, "--labels", table)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert says in done.stderr
    assert "no --labels. Give a folder" in report(movie).stderr
    with pytest.raises(TrainError, match="not named like"):
        film_table.read_film_windows(tmp_path)
