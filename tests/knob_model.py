"""A network for many λ that needs no training: its field gets larger, the lower λ is."""

from pathlib import Path

import torch

from smoothmorph.networks import ConditionalVoxelMorph, VoxelMorph, save_model
from smoothmorph.pipeline.models.trained_model import about
from smoothmorph.pipeline.models.training_images import TrainingImages
from smoothmorph.pipeline.settings.schema import TrialSettings, parse

RANGES = {"l2": (0.01, 1.0), "l1": (0.1, 0.9)}


def knob_model(dims: int = 2, steps: int = 0, spread: float = 0.5) -> ConditionalVoxelMorph:
    """At level t, the last weights of the backbone are (1 - t) times random ones, of standard deviation ``spread``."""
    torch.manual_seed(0)
    plain = VoxelMorph(dims, steps, 1, "border", channels=(4, 4, 4, 4), final_channels=(4,))
    torch.nn.init.normal_(plain.unet.convolutions[-1].weight, std=spread)
    network = ConditionalVoxelMorph(plain, RANGES, width=8, recommended=("l2", 0.2))
    flow = sum(shape[0] for shape in network.conditioning.shapes.values()) - 2 * dims  # its weight, then its bias
    embedding, head = network.conditioning.embedding, network.conditioning.head
    with torch.no_grad():
        for layer in (embedding[0], embedding[2]):
            layer.weight.zero_()
            layer.bias.zero_()
        embedding[0].weight[0, -1] = -0.5  # hidden unit 0: 1 - level, as the code has 2 · level - 1
        embedding[0].bias[0] = 0.5
        embedding[2].weight[0, 0] = 1
        head.bias[flow : flow + dims] = -1
        head.weight[flow : flow + dims, 0] = 1
    return network


def write_knob(path: Path, dims: int = 2, steps: int = 0, spread: float = 0.5, **cohort: object) -> Path:
    """Write the file of such a network, as of a trial with these settings of the cohort."""
    condition = {"penalties": [*RANGES], "lambda": {name: list(ends) for name, ends in RANGES.items()}}
    values = {
        "cohort": {"spatial_dims": dims, **cohort},
        "model": {"integration_steps": steps},
        "objective": {"penalty": "l2", "lambda": 0.2, "condition": condition},
    }
    settings = parse(TrialSettings, values, "test")
    images = TrainingImages(shape=(32,) * dims, spacing=(1.0,) * dims, axes="RAS")
    save_model(path, knob_model(dims, steps, spread), about("trial", settings, images))
    return path
