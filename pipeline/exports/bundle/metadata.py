"""The description of a network in a bundle: ``configs/metadata.json`` in MONAI's schema, and the model card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ....networks import BACKBONES, PENALTIES, SIMILARITIES
from ....transforms.basics.registry import Registry, packages_of
from ...evaluation.vocabulary import METRICS, REFINED
from ...images.reading import times
from ...models.card_texts import CardTexts
from ...models.trained_model import Trained
from ...settings.intensities import INTENSITIES
from ...settings.vocabulary import READERS

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
VERSION = "0.1.0"
REQUIRED = ("smoothmorph", "pytorch-ignite", "nibabel")
INTENDED = "Research on image registration. Not for diagnosis or treatment."


def metadata(trained: Trained, shape: Sequence[int], measured: Mapping[str, float], texts: CardTexts) -> dict[str, Any]:
    """The metadata of a bundle.

    Args:
        trained: the network.
        shape: shape (*spatial) of its images.
        measured: means by metric, see :class:`Measured`.
        texts: what the exporter says.
    """
    dims, backbone = trained.network.spatial_dims, trained.network.entry
    named: list[tuple[Registry[Any], str]] = [(BACKBONES, backbone.name)]
    if trained.settings is not None:
        named.append((INTENSITIES, trained.settings.cohort.intensity))
    required = [*REQUIRED, *packages_of(named)]
    kind = "diffeomorphic" if trained.network.integration_steps else "displacement"
    values = {
        "schema": SCHEMA,
        "version": VERSION,
        "changelog": {VERSION: f"exported by smoothmorph {version('smoothmorph')}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {name: version(name) for name in required},
        "task": f"Deformable registration of two {dims}-D images",
        "description": f"{backbone.title}, {kind} model: the displacement field that aligns a moving to a fixed image.",
        "authors": texts.authors or "not stated",
        "copyright": f"Copyright (c) {texts.authors}" if texts.authors else "not stated",
        "data_source": texts.images or _source(trained),
        "data_type": "nifti",
        "image_classes": "channel 0 is the moving, channel 1 the fixed image",
        "pred_classes": "one channel per axis: the displacement along that axis, in voxels",
        "eval_metrics": dict(measured),
        "intended_use": INTENDED,
        "references": list(backbone.references or filter(None, [backbone.source])),
        "network_data_format": {
            "inputs": {"image": _tensor("magnitude", shape, {"0": "moving", "1": "fixed"}, _range(trained))},
            "outputs": {"pred": _tensor("displacement", shape, {str(i): f"axis {i}, voxels" for i in range(dims)}, [])},
        },
    }
    if trained.settings is not None:
        values["smoothmorph"] = trained.origin
    return json.loads(json.dumps(values))


def model_card(
    trained: Trained,
    name: str,
    values: Mapping[str, Any],
    measured: "Measured",
    texts: CardTexts,
    kind: Literal["bundle", "weights"] = "bundle",
) -> str:
    """The model card: ``docs/README.md`` of the bundle ``name``, or the card next to ``weights``.

    Args:
        trained: the network.
        name: name of the bundle or the model.
        values: the result of :func:`metadata`.
        measured: what the test pairs gave.
        texts: what the exporter says.
        kind: ``bundle`` or ``weights``.
    """
    loader = FileSystemLoader(Path(__file__).parent)
    templates = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    templates.filters["times"] = times
    labels = {metric: METRICS[metric].column_with_note for metric in _main()}
    known = {"name": name, "values": values, "measured": measured, "labels": labels, **vars(trained)}
    known["shape"] = values["network_data_format"]["inputs"]["image"]["spatial_shape"]
    knob = trained.conditional if kind == "weights" else None
    known["parameters"] = f"{sum(parameter.numel() for parameter in (knob or trained.network).parameters()):,}"
    known["ranges"] = knob.ranges.ranges if knob else {}
    known["note"], known["terms"], known["scaling"] = texts.note or "", texts.terms or "", ""
    if (settings := trained.settings) is not None:
        known["scaling"] = INTENSITIES[settings.cohort.intensity].definition
        known["terms"] = texts.terms or READERS[settings.cohort.reader].terms
        known["loss"] = SIMILARITIES[settings.objective.similarity].loss
        penalty = settings.objective.penalty
        known["field"] = settings.objective.field_in_words
        known["title_of"] = PENALTIES.title
        known["penalty"] = f"({PENALTIES.title(penalty)})" if PENALTIES.is_sum(penalty) else PENALTIES.title(penalty)
    return templates.get_template(f"{kind}_card.md.j2").render(known)


@dataclass(frozen=True)
class Measured:
    """Means of the main metrics over the test pairs, by their names, and the number of pairs as ``pairs``.

    What was not measured is empty.

    Attributes:
        alone: the network, at the penalty and λ that it is exported for.
        refined: the same after ``steps`` of refinement.
        points: a network for many λ, at every ``penalty`` and ``lambda`` that was measured.
    """

    alone: Mapping[str, float]
    refined: Mapping[str, float]
    steps: int
    points: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, trained: Trained, rows: pd.DataFrame | None) -> "Measured":
        """From rows of the trials that have this network."""
        if rows is None:
            return cls({}, {}, 0, ())
        refined = rows[REFINED] > 0 if REFINED in rows else pd.Series(False, rows.index)
        own = pd.Series(True, rows.index)
        if trained.conditional is not None and trained.settings is not None:
            objective = trained.settings.objective
            own = (rows["penalty"] == objective.penalty) & np.isclose(rows["lambda"], objective.weight, rtol=1e-6)
        points = [
            {"penalty": penalty, "lambda": weight, **_means(part)}
            for (penalty, weight), part in rows[~refined].groupby(["penalty", "lambda"], sort=False)
        ]
        steps = int(rows.loc[refined, REFINED].max()) if refined.any() else 0
        return cls(_means(rows[own & ~refined]), _means(rows[own & refined]), steps, points if len(points) > 1 else ())


def _means(rows: pd.DataFrame) -> dict[str, float]:
    names = [name for measure in _main() for name in (f"{measure}_before", measure)]
    means = {name: float(f"{rows[name].mean():.4g}") for name in names if name in rows and rows[name].notna().any()}
    return {**means, "pairs": len(rows)} if means else {}


def _main() -> list[str]:
    """The metrics in a model card."""
    return [name for name, metric in METRICS.items() if metric.main and metric.interval]


def _source(trained: Trained) -> str:
    if trained.settings is None:
        return "not recorded"
    reader = READERS[trained.settings.cohort.reader]
    return reader.source or reader.meaning


def _range(trained: Trained) -> list[float]:
    return [*INTENSITIES[trained.settings.cohort.intensity].bounds] if trained.settings is not None else []


def _tensor(kind: str, shape: Sequence[int], channels: Mapping[str, str], values: Sequence[float]) -> dict[str, Any]:
    return {
        "type": "image",
        "format": kind,
        "modality": "n/a",
        "num_channels": len(channels),
        "spatial_shape": list(shape),
        "dtype": "float32",
        "value_range": list(values),
        "is_patch_data": False,
        "channel_def": dict(channels),
    }
