"""`python -m train scenes`, `answer`, `teach`: stored scenes and what teachers answer to them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from train.cli.options import (
    CACHE,
    NO_LIMIT,
    RUNS,
    SCENES,
    TEACHERS,
    Cache,
    Hours,
    Runs,
    Scenes,
    TeacherFolder,
    Workers,
)

SetName = Annotated[str, typer.Argument(help="Name of a file in train/configs/scene_sets/.")]


def scenes(
    name: SetName,
    cache: Cache = CACHE,
    to: Scenes = SCENES,
    count: Annotated[int, typer.Option(help="Number of scenes; 0: the config's.")] = 0,
    workers: Workers = 1,
) -> None:
    """Mix scenes once and store them. Continues where it was interrupted.

    Example: python -m train scenes wide --workers 2
    """
    from train.distillation.heads import mix_scene_set

    for line in mix_scene_set(name, cache, to, count, workers):
        typer.echo(line, err=True)
    typer.echo(f"scenes in {to / name}")


def answer(
    name: SetName,
    to: Scenes = SCENES,
    teachers: TeacherFolder = TEACHERS,
    part: Annotated[str, typer.Option(help="I/N: part I of N parts, from 0.")] = "0/1",
) -> None:
    """Store the taggers' features and class probabilities of stored scenes.

    Example: python -m train answer wide
    """
    from train.data.scene_store import SceneStore
    from train.distillation.teaching import answer_scenes
    from train.teachers.features import load_teachers

    index, count = (int(n) for n in part.split("/"))
    store = SceneStore(to / name)
    for shard in answer_scenes(store, load_teachers(teachers), part=(index, count)):
        typer.echo(f"shard {shard} of {len(store.shards)}", err=True)


def teach(
    name: SetName,
    cache: Cache = CACHE,
    to: Scenes = SCENES,
    teachers: TeacherFolder = TEACHERS,
    runs: Runs = RUNS,
    hours: Hours = NO_LIMIT,
    forget: Annotated[bool, typer.Option(help="Remove the features afterwards.")] = False,
    also: Annotated[
        Path | None,
        typer.Option("--set", help="Also score the heads on this set of scenes."),
    ] = None,
) -> None:
    """Train heads on the taggers' features, and store what they answer to the scenes.

    Heads that are trained and shards that are done are skipped. Prints the heads' metrics on val
    scenes, and those of the mean of their logits.

    Example: python -m train teach wide --set ../shared/eval
    """
    from train.data.corpus import Corpus
    from train.data.scene_store import SceneStore
    from train.distillation.config import load_scene_set
    from train.distillation.heads import score_set, teach_with_heads

    store, heads = SceneStore(to / name), load_scene_set(name).heads
    for line in teach_with_heads(store, heads, Corpus(cache), teachers, runs, hours, forget=forget):
        typer.echo(line)
    if also is not None:
        for line in score_set(store, heads, also, teachers, runs):
            typer.echo(line)
