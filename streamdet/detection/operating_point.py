"""The threshold to use: an explicit one, a named operating point, or the bundle's default."""

from __future__ import annotations

from streamdet.model.bundle import Bundle


class ThresholdError(ValueError):
    """The threshold or the operating point is not usable.

    ``options`` names the arguments at fault, ``problem`` says what is wrong with them.
    """

    def __init__(self, options: tuple[str, ...], problem: str) -> None:
        super().__init__(f"{' and '.join(options)}: {problem}")
        self.options, self.problem = options, problem


def choose_threshold(
    bundle: Bundle,
    threshold: float | None = None,
    operating_point: str | None = None,
    *,
    verify: bool = True,
) -> float:
    """Return ``threshold`` if given, else that of ``operating_point``, else the bundle's default.

    Without ``verify`` an operating point gives the threshold of the first stage.

    Raises ThresholdError if both are given, if the threshold is not between 0 and 1, or if the
    bundle has no such operating point.
    """
    if threshold is None:
        name = operating_point or bundle.default_point
        if name not in bundle.operating_points:
            known = ", ".join(bundle.operating_points)
            problem = f"this bundle has no {name!r}. Use one of: {known}"
            raise ThresholdError(("operating_point",), problem)
        point = bundle.operating_points[name]
        only_stage = None if verify else point.stage_threshold
        return point.threshold if only_stage is None else only_stage
    if operating_point is not None:
        raise ThresholdError(("threshold", "operating_point"), "give only one of them")
    if not 0.0 < threshold < 1.0:
        raise ThresholdError(("threshold",), f"{threshold:g} is not between 0 and 1")
    return threshold
