"""The metrics that rows have. Reading them loads neither torch nor MONAI."""

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
Role = Literal["similarity", "accuracy", "smoothness", ""]


@dataclass(frozen=True, kw_only=True)
class MetricEntry(Entry):
    """A metric of a registered pair: the target is a function of a ``MeasuredPair``; see ``metrics``.

    Attributes:
        needs: parts of the pair without which it is not measured: ``labels``, ``landmarks``, ``displacement``,
            ``velocity``. One that needs no field and no time is measured before registration, too.
        better: which values are better, if one can say so.
        best: the best value, if there is one.
        unit: ``a.u.`` are the intensity's own units.
        range: the values that can be.
        form: how a value is written in a terminal.
        role: configurations are compared in ``accuracy`` and ``similarity``, at equal ``smoothness``.
        priority: the metrics of a role stand in this order; the first is the main one.
        main: it stands in the short tables.
        interval: its mean gets an interval; only what is neither stands apart.
        listed: it stands in the summary; otherwise only in the rows.
        always: it is measured in every trial; otherwise where the objective has the similarity or the penalty that is
            called ``minimized``.
        minimized: by default the metric's own name.
        required: rows without it are damaged, as it was measured from the first; not for one of another package.
        slow: it takes longer than all the rest; it has no column in a terminal.
        heading: of a column; by default title and unit.
        narrow: of a column in a terminal; by default title above unit.
        quantity: what it is of, on an axis and in a sentence; by default the title.
        note: follows the quantity on an axis, in brackets; by default the unit, or what is best.
        effect: what a study's λ has an effect on, in a sentence; by default the title.
        remark: follows the meaning; by default which values are better.
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
        """The value, or the value of each structure."""
        return self.load()(pair, **self.arguments)

    @property
    def of_field(self) -> bool:
        """Whether it is a measure of a field alone."""
        return not set(self.needs).isdisjoint(FIELDS)

    @property
    def smaller_is_better(self) -> bool:
        return self.better != "higher"

    @property
    def direction(self) -> str:
        """Which values are better, in words; empty where one cannot say so."""
        known = self.best is not None and self.better == "higher"
        return f"{self.best:g} is best" if known else f"{self.better} is better" if self.better else ""

    @property
    def column(self) -> str:
        """The heading of a column."""
        return self.heading or self.short_column

    @property
    def short_column(self) -> str:
        """Title and unit, but for the intensity's own units, which tell a reader nothing here."""
        return f"{self.title} ({self.unit})" if self.unit and not self.unit.startswith("a.u.") else self.title

    @property
    def narrow_column(self) -> str:
        """The heading of a column in a terminal, of two lines at most."""
        return self.narrow or (self.title if self.short_column == self.title else f"{self.title}\n{self.unit}")

    @property
    def column_with_note(self) -> str:
        """The heading of a line or column that stands alone: with unit, or note, or direction."""
        return self.column if self.of_field else self.axis()

    def axis(self, when: str = "") -> str:
        """The label of an axis; ``when`` follows the name."""
        words = f"{self.quantity or self.title} {when}".strip()
        note = self.note or self.unit or (self.direction if not self.of_field else "")
        return f"{words} ({note})" if note else words

    @property
    def definition(self) -> str:
        remark = self.direction if self.remark is None else self.remark
        return "; ".join(part for part in (self.meaning, remark, self.source) if part)


class Metrics(Registry[MetricEntry]):
    """The metrics by name, those of every similarity and of every penalty among them."""

    def __init__(self) -> None:
        super().__init__("metric", "smoothmorph.metrics", package=f"{__package__}.metrics")
        self.derived: list[tuple[Registry, Callable[..., Iterable[MetricEntry]]]] = []
        """Other registries, which may grow, and what makes metrics of an entry of each."""
        self._derived_from: list[list[str]] = []

    def of_role(self, role: Role) -> list[str]:
        """The metrics of a role, the main one first."""
        return sorted((name for name in self if self[name].role == role), key=lambda name: self[name].priority)

    def of_column(self, column: str) -> MetricEntry | None:
        """What a column of rows holds: ``dice_before/left`` is of ``dice``; None if no metric."""
        return self.get(column.partition("/")[0].removesuffix("_before"))

    def measured(self, similarity: str | None, slow: bool = True, penalty: str | None = None) -> list[MetricEntry]:
        """What is measured where the objective has this similarity and penalty, or these sums (None: there is none)."""
        named = [SIMILARITIES.terms(similarity) if similarity else (), PENALTIES.terms(penalty) if penalty else ()]
        names = {term.name for terms in named for term in terms}
        return [m for m in self.values() if (m.always or (m.minimized or m.name) in names) and (slow or not m.slow)]

    def _known(self) -> dict[str, MetricEntry]:
        known = super()._known()
        names = [list(registry._known()) for registry, _ in self.derived]
        if names != self._derived_from:  # every look-up comes here
            self._derived_from = names
            for registry, metrics_of in self.derived:
                for metric in chain.from_iterable(map(metrics_of, registry.values())):
                    known.setdefault(metric.name, metric)
        return known


METRICS = Metrics()
