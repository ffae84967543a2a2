"""What `file` makes of whole files beside its events: a report, a plot, clips."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from streamdet.cli.errors import CommandError

if TYPE_CHECKING:
    from streamdet.pipeline.files import FileEvent
    from streamdet.pipeline.source_pipeline import ScoreCallback
    from streamdet.report.collector import OverviewCollector
    from streamdet.report.overview import FileOverview


@dataclass
class FileReports:
    """The options, and what is gathered for them; raises Failure for what can't be made."""

    reports: list[Path]
    plot: Path | None
    clips: Path | None
    excerpts: bool
    threshold: float
    track: str | None
    each: bool
    _under_way: dict[str, OverviewCollector] = field(default_factory=dict)
    _over: list[FileOverview] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.excerpts and not self.reports:
            raise CommandError("--excerpts: wants --output NAME.html too")
        if self.plot is not None and self.plot.suffix.lower() not in (".png", ".svg"):
            raise CommandError(f"--plot {self.plot}: is drawn as .png or .svg")
        if self._wanted:
            _need()
        for option, path in (*(("--output", p) for p in self.reports), ("--plot", self.plot)):
            if path is not None:
                _writable(option, path)
        if self.clips is not None:
            try:
                self.clips.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                raise CommandError(f"--clips {self.clips}: {error.strerror}") from error

    @property
    def _wanted(self) -> bool:
        return bool(self.reports) or self.plot is not None

    def score_callback(self, path: str) -> ScoreCallback | None:
        """What is to be told of a file's scores."""
        if not self._wanted:
            return None
        from streamdet.report.collector import OverviewCollector

        gathering = OverviewCollector(
            "stdin" if path == "-" else path, self.track, excerpts=self.excerpts,
            pictures=bool(self.reports),
        )  # fmt: skip
        self._under_way[path] = gathering
        return gathering.curve.add_scores

    def add_event(self, heard: FileEvent, path: str) -> None:
        """An event of a file."""
        if path in self._under_way:
            self._under_way[path].add_event(heard, path)
        if self.clips is not None:
            from streamdet.report.collector import write_clip

            try:
                write_clip(self.clips, heard, path, self.track, each=self.each)
            except OSError as error:
                raise CommandError(f"--clips {self.clips}: {error.strerror or error}") from error

    def finish_file(self, path: str, fault: str) -> None:
        """The file has no more."""
        if (gathering := self._under_way.pop(path, None)) is not None:
            self._over.append(gathering.overview(self.threshold, fault))

    def finish(self) -> None:
        """Write what is of all files."""
        if not self._over:
            return
        try:
            for path in self.reports:
                from streamdet.report import html

                path.write_text(html.render_report(self._over), encoding="utf-8")
            if self.plot is not None:
                from streamdet.report import plot

                plot.draw_plot(self._over, self.plot)
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from error


def _need() -> None:
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise CommandError("reports and plots need jinja2 and matplotlib: pip install "
                      "'streamdet[plots]'") from error  # fmt: skip


def _writable(option: str, path: Path) -> None:
    try:
        path.open("a").close()
    except OSError as error:
        raise CommandError(f"{option} {path}: {error.strerror}") from error
