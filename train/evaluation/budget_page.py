"""Write the measurement of budgets as a Markdown page with plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamdet.model.bundle import Bundle
from train.data.corpus import Corpus
from train.errors import TrainError
from train.evaluation import budget_plots
from train.evaluation.budget_outcomes import HOUR_S, Outcome, sum_outcomes
from train.evaluation.budget_scenes import (
    QUARTER_S,
    SETTLED,
    SceneOutcome,
    measure_city,
    measure_scenes,
)
from train.evaluation.budgets import (
    BUDGETS,
    FIXED,
    NAMED,
    PlaceOutcome,
    StreamLengths,
    measure_places,
)
from train.evaluation.stream_scores import CachedScorer

_ALL = "all places"


@dataclass(frozen=True)
class BudgetReport:
    """All that is measured of a bundle on a split."""

    bundle: str
    split: str
    passes: int
    places: list[PlaceOutcome]
    scenes: list[SceneOutcome]
    city: list[Outcome]


def measure_budgets(
    bundle: Bundle,
    corpus: Corpus,
    split: str,
    cache: Path,
    positions: Path,
    lengths: StreamLengths,
    *,
    shorten: int = 1,
    names: Sequence[str] = (),
    report: Callable[[str], None] = lambda _: None,
) -> BudgetReport:
    """Measure places, changes of scene and field recordings. ``shorten`` divides the length of
    the changes of scene; ``names`` selects places. ``report`` is called with lines of progress.
    Raises TrainError as `measure_places`."""
    scorer = None if bundle.verifier is None else CachedScorer(bundle)
    common = (bundle, corpus, split, cache, scorer)
    measured = measure_places(*common, lengths, names, report)
    scenes = measure_scenes(*common, shorten, report)
    city = measure_city(*common, positions)
    name = f"{bundle.name}/{bundle.version}"
    return BudgetReport(name, split, lengths.passes, measured, scenes, city)


def write_budget_page(report: BudgetReport, folder: Path) -> Path:
    """Write ``page.md`` and its plots into a folder; return the page's path. Raises TrainError if
    it can't be written."""
    total = sum_outcomes([each.outcomes for each in report.places])
    by_place = {each.place.name: each.outcomes for each in report.places}
    settings = [f"fixed {FIXED:g}", *[o.setting for o in total if _is_hour(o.setting)]]
    lines = _make_head(report)
    lines += _make_summary(total, report.places)
    lines += ["", "![false alarms](false-alarms.png)", "", "![rates](rates.png)"]
    lines += ["", "![recall](recall.png)"]
    lines += _make_outcome_table(f"All places together, {_hours(total[0])}", total)
    for each in report.places:
        title = f"{each.place.name.capitalize()}, {_hours(each.outcomes[0])}"
        lines += _make_outcome_table(title, each.outcomes)
    for i, scene in enumerate(report.scenes):
        lines += _make_scene_section(scene, f"scene-{i}.png")
    if report.city:
        title = f"Field recordings in the city, {_hours(report.city[0])}"
        lines += _make_outcome_table(title, report.city)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        budget_plots.plot_false_alarms({_ALL: total, **by_place}, folder / "false-alarms.png")
        budget_plots.plot_rates(report.places, folder / "rates.png")
        budget_plots.plot_recall(report.places, settings, folder / "recall.png")
        for i, scene in enumerate(report.scenes):
            budget_plots.plot_scene(scene, folder / f"scene-{i}.png")
        page = folder / "page.md"
        page.write_text("\n".join(lines) + "\n")
    except OSError as error:
        raise TrainError(f"{folder}: can't be written: {error.strerror}") from error
    return page


def _make_head(report: BudgetReport) -> list[str]:
    named = ", ".join(f"`{name}`" for name in NAMED)
    lines = [
        f"# Budgets of false alarms: {report.bundle} on {report.split}",
        "",
        f"Made by `python -m train budgets --split {report.split}`.",
        "",
        "Each place has one stream to adapt on and another to measure on. The second has ten shots "
        "an hour, at 0, 6, 12 and 20 dB. The first has one, at 0 dB, or as many as the setting "
        "says. No labels and no verdicts are used for adaptation, so shots that are missed count "
        f"as background. A day repeats that stream {report.passes} times. `start` is before any "
        "adaptation, and `then adapting` goes on adapting while it is measured; all other settings "
        f"keep their threshold. {named} are the thresholds of the card, for any place.",
        "",
        "The streams are hours long, but the clips of a split last minutes. Both streams of a "
        "place repeat the same clips in another order and at other levels. So false alarms are "
        "not independent, and the 95 % intervals, which are Poisson, are too narrow.",
        "",
        "| place | beds, clips | minutes | impulsive sounds, clips | minutes |",
        "|---|---|---|---|---|",
    ]
    for each in report.places:
        m = each.material
        lines.append(
            f"| {each.place.name} | {m.beds} | {m.bed_minutes:.1f} "
            f"| {m.sounds} | {m.sound_minutes:.1f} |"
        )
    m = report.places[0].material
    return [*lines, "", f"The shots are {m.shots} clips from {m.recordings} recordings."]


def _make_summary(total: Sequence[Outcome], measured: Sequence[PlaceOutcome]) -> list[str]:
    """In how many places each budget holds."""
    lines = [
        "",
        "## Do the budgets hold?",
        "",
        "`yes`: the rate is within a factor of two of the budget. `more`, `fewer`: the whole "
        "interval is outside that range. `too short`: the rate is outside and the interval is "
        "not, so more hours would be needed to say.",
        "",
        "| setting | asked per hour | all places, per hour | all places | yes | more | fewer "
        "| too short |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for i, outcome in enumerate(total):
        if outcome.budget is None:
            continue
        names: dict[str, list[str]] = {}
        for each in measured:
            names.setdefault(each.outcomes[i].verdict, []).append(each.place.name)
        cells = (", ".join(names.get(v, [])) for v in ("yes", "more", "fewer", "too short"))
        lines.append(
            f"| {outcome.setting} | {outcome.budget * HOUR_S:.3g} | {_format_rate(outcome)} "
            f"| {outcome.verdict} | {' | '.join(cells)} |"
        )
    return lines


def _make_outcome_table(title: str, outcomes: Sequence[Outcome]) -> list[str]:
    columns = list(dict.fromkeys(name for o in outcomes for name in o.found))
    heads = [name if name.endswith(("m", "n")) else f"{name} dB" for name in columns]
    lines = [
        "",
        f"## {title}",
        "",
        f"| setting | threshold | false alarms | per hour | holds | found | {' | '.join(heads)} |",
        "|---" * (6 + len(heads)) + "|",
    ]
    for o in outcomes:
        cells = [_format_share(o.found.get(name, (0, 0))) for name in columns]
        lines.append(
            f"| {o.setting} | {_format_thresholds(o)} | {o.false_alarms} | {_format_rate(o)} "
            f"| {o.verdict} | {_format_share(_sum_found(o))} | {' | '.join(cells)} |"
        )
    return lines


def _make_scene_section(scene: SceneOutcome, picture: str) -> list[str]:
    lines = ["", f"## {scene.name}", "", f"![thresholds over time]({picture})", ""]
    lines += [
        f"A threshold has settled when it stays within {SETTLED:g} logits of that at the end of "
        "the phase. All settings begin with the bundle's background.",
        "",
        "| phase | setting | settled after | threshold | false alarms | per hour | found |",
        "|---|---|---|---|---|---|---|",
    ]
    settings = [f"fixed {FIXED:g}", *BUDGETS]
    for phase in scene.phases:
        for setting in settings:
            o = scene.count(setting, (phase.start_s, phase.stop_s))
            settled = ""
            if setting in scene.played:
                settled = f"{scene.settling_s(setting, phase) / 60.0:.0f} min"
            lines.append(
                f"| {phase.place} | {setting} | {settled} | {_format_thresholds(o)} "
                f"| {o.false_alarms} | {_format_rate(o)} | {_format_share(_sum_found(o))} |"
            )
    heads = [f"{t}: threshold | false alarms | found" for t in BUDGETS]
    lines += ["", f"| quarter from, min | place | {' | '.join(heads)} |"]
    lines.append("|---" * (2 + 3 * len(BUDGETS)) + "|")
    for k in range(int(scene.stream.seconds // QUARTER_S)):
        span = (k * QUARTER_S, (k + 1) * QUARTER_S)
        place = next(
            p.place for p in reversed(scene.phases) if p.start_s <= span[0] + QUARTER_S / 2
        )
        cells = []
        for setting in BUDGETS:
            o = scene.count(setting, span)
            shown = _format_share(_sum_found(o))
            cells.append(f"{_format_thresholds(o)} | {o.false_alarms} | {shown}")
        lines.append(f"| {span[0] / 60.0:.0f} | {place} | {' | '.join(cells)} |")
    return lines


def _is_hour(setting: str) -> bool:
    """Whether a setting adapted for an hour and then kept its threshold."""
    return setting.endswith(", 1 h")


def _hours(outcome: Outcome) -> str:
    return f"{outcome.seconds / HOUR_S:.2g} h"


def _format_rate(outcome: Outcome) -> str:
    low, high = outcome.interval_h
    return f"{outcome.rate_h:.2f} ({low:.2f} to {high:.2f})"


def _format_thresholds(outcome: Outcome) -> str:
    low, high = (f"{at:.4f}" if at > 0.99 else f"{at:.3f}" for at in outcome.thresholds)
    return low if low == high else f"{low} to {high}"


def _sum_found(outcome: Outcome) -> tuple[int, int]:
    counts = outcome.found.values()
    return sum(hits for hits, _ in counts), sum(count for _, count in counts)


def _format_share(counts: tuple[int, int]) -> str:
    return f"{counts[0]}/{counts[1]}" if counts[1] else ""
