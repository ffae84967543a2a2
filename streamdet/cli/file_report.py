"""What `file` writes besides events: HTML reports, plots, and clips without a store."""

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
    """The report options of `file`, and the data collected for them.

    Raises CommandError for an option that is wrong or a file that cannot be written.
    """

    reports: list[Path]
    plot: Path | None
    clips: Path | None
    excerpts: bool
    track: str | None
    each_channel: bool
    _collectors: dict[str, OverviewCollector] = field(default_factory=dict)
    _overviews: list[FileOverview] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.excerpts and not self.reports:
            raise CommandError("--excerpts: needs --output NAME.html")
        if self.plot is not None:
            check_plot_format(self.plot)
        if self._needs_overviews:
            require_plots()
        for option, path in (*(("--output", p) for p in self.reports), ("--plot", self.plot)):
            if path is not None:
                check_writable(option, path)
        if self.clips is not None:
            try:
                self.clips.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                raise CommandError(f"--clips {self.clips}: {error.strerror}") from error

    @property
    def _needs_overviews(self) -> bool:
        return bool(self.reports) or self.plot is not None

    def score_callback(self, path: str) -> ScoreCallback | None:
        """Start a file. Returns the function that receives its scores, None if not needed."""
        if not self._needs_overviews:
            return None
        from streamdet.report.collector import OverviewCollector

        collector = OverviewCollector(
            "stdin" if path == "-" else path, self.track, excerpts=self.excerpts,
            pictures=bool(self.reports),
        )  # fmt: skip
        self._collectors[path] = collector
        return collector.curve.add_scores

    def add_event(self, found: FileEvent, path: str) -> None:
        """Add an event of the file ``path``."""
        if path in self._collectors:
            self._collectors[path].add_event(found, path)
        if self.clips is not None:
            from streamdet.report.collector import write_clip

            try:
                write_clip(self.clips, found, path, self.track, each=self.each_channel)
            except OSError as error:
                raise CommandError(f"--clips {self.clips}: {error.strerror or error}") from error

    def finish_file(self, path: str, fault: str, threshold: float) -> None:
        """Complete a file. ``fault`` is one line about damage, or empty."""
        if (collector := self._collectors.pop(path, None)) is not None:
            self._overviews.append(collector.overview(threshold, fault))

    def finish(self) -> None:
        """Write the reports and the plot of all files."""
        if not self._overviews:
            return
        try:
            for path in self.reports:
                from streamdet.report import html

                path.write_text(html.render_report(self._overviews), encoding="utf-8")
            if self.plot is not None:
                from streamdet.report import plot

                plot.draw_plot(self._overviews, self.plot)
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from error


def check_plot_format(path: Path) -> None:
    """Raise CommandError if the suffix of a plot is neither .png nor .svg."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise CommandError(f"--plot {path}: unknown format. Use .png or .svg")


def require_plots() -> None:
    """Raise CommandError if what plots need is not installed."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise CommandError("reports and plots need Jinja2 and Matplotlib: pip install "
                      "'streamdet[plots]'") from error  # fmt: skip


def check_writable(option: str, path: Path) -> None:
    """Raise CommandError if the file cannot be written. Creates it if it does not exist."""
    try:
        path.open("a").close()
    except OSError as error:
        raise CommandError(f"{option} {path}: {error.strerror}") from error
