"""The vocabulary of metrics. Reading it loads neither torch nor MONAI."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Literal

from ...networks import PENALTIES, SIMILARITIES
from ...transforms.basics.registry import Entry, Registry

if TYPE_CHECKING:
    from .measured_pair import MeasuredPair

FIELDS = ("displacement", "velocity")
REFINED = "refinement_steps"
"""The column of rows for the steps by which a network's field was refined; rows without it have 0."""
Role = Literal["similarity", "accuracy", "smoothness", ""]


@dataclass(frozen=True, kw_only=True)
class MetricEntry(Entry):
    """A metric of a registered pair. The target is a function of a ``MeasuredPair``; see ``metrics``.

    Attributes:
        needs: parts of the pair that the metric needs: ``labels``, ``landmarks``, ``spacing``, ``displacement``,
            ``velocity``, ``inverse_displacement``, ``seconds``, ``steps``. It is measured only if they exist.
            Without fields, seconds and steps, it is also measured before registration.
        better: which values are better; empty if neither.
        best: the best value, if there is one.
        unit: the unit; ``a.u.`` are the units of the intensity.
        range: the possible values.
        form: format of a value in a terminal.
        role: studies compare ``accuracy`` and ``similarity`` at equal ``smoothness``.
        priority: order of the metrics with the same role; the first is the main metric.
        main: whether short tables include it.
        interval: whether its mean gets a confidence interval.
        listed: whether the summary includes it; otherwise only the rows do.
        always: whether every trial measures it; otherwise only trials whose objective contains the similarity or the
            penalty ``minimized``.
        minimized: name of a similarity or a penalty; default: the metric's own name.
        required: whether rows without it are damaged. Only for metrics of this package that all results have.
        slow: whether it takes longer than all others together; terminal tables then leave it out.
        heading: column heading; default: title and unit.
        narrow: column heading in a terminal; default: title above unit.
        quantity: name on an axis and in a sentence; default: the title.
        note: text in brackets after the quantity on an axis; default: the unit, or the best value.
        effect: the quantity that λ affects, in a sentence; default: the title.
        remark: text after the meaning; default: which values are better.
    """

    needs: tuple[str, ...] = ()
    better: Literal["lower", "higher", ""] = ""
    best: float | None = None
    unit: str = ""
    range: tuple[float, float] = (-math.inf, math.inf)
    form: str = ".3f"
    role: Role = ""
    priority: int = 100
    main: bool = True
    interval: bool = True
    listed: bool = True
    always: bool = True
    minimized: str = ""
    required: bool = False
    slow: bool = False
    heading: str = ""
    narrow: str = ""
    quantity: str = ""
    note: str = ""
    effect: str = ""
    remark: str | None = None

    def __call__(self, pair: "MeasuredPair") -> float | Mapping[str, float]:
        """The value of the metric, or its value for each structure."""
        return self.load()(pair, **self.arguments)

    @property
    def of_field(self) -> bool:
        """Whether the metric measures a field only."""
        return not set(self.needs).isdisjoint(FIELDS)

    @property
    def smaller_is_better(self) -> bool:
        return self.better != "higher"

    @property
    def direction(self) -> str:
        """Which values are better, in words; empty if neither."""
        known = self.best is not None and self.better == "higher"
        return f"{self.best:g} is best" if known else f"{self.better} is better" if self.better else ""

    @property
    def column(self) -> str:
        """The heading of a column."""
        return self.heading or self.short_column

    @property
    def short_column(self) -> str:
        """Title and unit; without the unit if it is ``a.u.``, which would not inform the reader."""
        return f"{self.title} ({self.unit})" if self.unit and not self.unit.startswith("a.u.") else self.title

    @property
    def narrow_column(self) -> str:
        """The heading of a column in a terminal, at most two lines."""
        return self.narrow or (self.title if self.short_column == self.title else f"{self.title}\n{self.unit}")

    @property
    def column_with_note(self) -> str:
        """The heading of a single line or column, with the unit, the note or the direction."""
        return self.column if self.of_field else self.axis()

    def axis(self, when: str = "") -> str:
        """The label of an axis; ``when`` is appended to the name."""
        words = f"{self.quantity or self.title} {when}".strip()
        note = self.note or self.unit or (self.direction if not self.of_field else "")
        return f"{words} ({note})" if note else words

    @property
    def definition(self) -> str:
        remark = self.direction if self.remark is None else self.remark
        return "; ".join(part for part in (self.meaning, remark, self.source) if part)


class Metrics(Registry[MetricEntry]):
    """The metrics by name, including those derived from every similarity and penalty."""

    def __init__(self) -> None:
        super().__init__("metric", "smoothmorph.metrics", package=f"{__package__}.metrics")
        self.derived: list[tuple[Registry, Callable[..., Iterable[MetricEntry]]]] = []
        """Other registries, each with a function that makes metrics from one of its entries."""
        self._derived_from: list[list[str]] = []

    def of_role(self, role: Role) -> list[str]:
        """The names of the metrics with this role, the main metric first."""
        return sorted((name for name in self if self[name].role == role), key=lambda name: self[name].priority)

    def of_column(self, column: str) -> MetricEntry | None:
        """The metric in a column of rows: ``dice`` for ``dice_before/left``; None if the column is not a metric."""
        return self.get(column.partition("/")[0].removesuffix("_before"))

    def measured(self, similarity: str | None, slow: bool = True, penalty: str | None = None) -> list[MetricEntry]:
        """The metrics to measure in a trial that minimizes this similarity and penalty (None: it has no objective).

        Both can be sums.
        """
        named = [SIMILARITIES.terms(similarity) if similarity else (), PENALTIES.terms(penalty) if penalty else ()]
        names = {term.name for terms in named for term in terms}
        return [m for m in self.values() if (m.always or (m.minimized or m.name) in names) and (slow or not m.slow)]

    def _known(self) -> dict[str, MetricEntry]:
        known = super()._known()
        names = [list(registry._known()) for registry, _ in self.derived]
        if names != self._derived_from:  # they may have grown; every look-up comes here
            self._derived_from = names
            for registry, metrics_of in self.derived:
                for metric in chain.from_iterable(map(metrics_of, registry.values())):
                    known.setdefault(metric.name, metric)
        return known


METRICS = Metrics()
