"""Writing of a MONAI bundle of a trained network.

OUT/  LICENSE  configs/metadata.json, inference.json, logging.conf  models/model.pt, model.ts  docs/README.md
      sample_data/pairs.json, moving.nii.gz, fixed.nii.gz
"""

import json
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path

import pandas as pd
import torch
from monai.data.torchscript_utils import save_net_with_metadata

from ....networks import DisplacementNetwork, export_torchscript
from ....transforms.basics.atomic import write_folder
from ...models.card_texts import CardTexts
from ...models.trained_model import Trained
from .configs import inference, refinement
from .metadata import Measured, metadata, model_card
from .sample import write_sample


def write_bundle(
    trained: Trained,
    out: Path,
    shape: Sequence[int] | None = None,
    rows: pd.DataFrame | None = None,
    texts: CardTexts = CardTexts(),  # noqa: B008 (it cannot be changed)
) -> None:
    """Write a bundle that ``python -m monai.bundle`` verifies and runs.

    Args:
        trained: the network.
        out: the folder to create; its name is the name of the bundle.
        shape: shape (*spatial) of its images; None for that of the training images.
        rows: rows of its test pairs, for the model card; None if nothing was measured.
        texts: what metadata and model card say in the exporter's words.

    Raises:
        InputError: ``out`` exists or cannot be written, or the shape is unknown or does not fit.
    """
    shape, measured = trained.shape_or(shape), Measured.of(trained, rows)
    values, config = metadata(trained, shape, measured.alone, texts), inference(trained.network, trained.settings)
    script = export_torchscript(trained.network, shape)

    def fill(folder: Path) -> None:
        for name in ("configs", "models", "docs", "sample_data"):
            (folder / name).mkdir()
        refining = refinement(trained.network, trained.settings)
        for name, content in (("metadata", values), ("inference", config), ("refine", refining)):
            (folder / "configs" / f"{name}.json").write_text(json.dumps(content, indent=4), encoding="utf-8")
        (folder / "configs" / "logging.conf").write_bytes(Path(__file__).with_name("logging.conf").read_bytes())
        torch.save(DisplacementNetwork(trained.network).state_dict(), folder / "models" / "model.pt")
        extra = {"inference.json": json.dumps(config).encode()}
        save_net_with_metadata(
            script, str(folder / "models" / "model.ts"), False, meta_values=values, more_extra_files=extra
        )
        card = model_card(trained, out.name, values, measured, texts)
        (folder / "docs" / "README.md").write_text(card, encoding="utf-8")
        (folder / "LICENSE").write_text(_licence(), encoding="utf-8")
        write_sample(folder / "sample_data", shape, trained.images.spacing)

    write_folder(out, fill)


def _licence() -> str:
    """The text of the Apache-2.0 licence that was installed with smoothmorph."""
    text = distribution("smoothmorph").read_text("licenses/LICENSE")
    return text or "Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0\n"
