"""A network as a graph that runs without smoothmorph: ``torch.export``, and TorchScript for MONAI bundles.

Both are for images of one size, refuse any other, and are compared with the network before they are returned.
"""

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..displacement_network import DisplacementNetwork, check_finite
from ..voxelmorph import VoxelMorph

TOLERANCE = 1e-5
"""Voxels; on a CPU no difference was seen."""


def export_program(network: VoxelMorph, shape: Sequence[int]) -> torch.export.ExportedProgram:
    """:class:`DisplacementNetwork` of ``network`` as a ``torch.export`` program, on the CPU.

    Args:
        network: is left as it is.
        shape: (*spatial) of the images; the program takes (1, 2, *spatial) and returns (1, D, *spatial), voxels.

    Raises:
        ValueError: a shape that does not fit the network's number of axes, or weights beyond single precision.
        RuntimeError: the program computes something else than the network.
    """
    eager, pair, expected = _reference(network, shape)
    with torch.no_grad():
        program = torch.export.export(eager, (pair,), strict=False)
    _check(program.module(), pair, expected)
    return program


def export_torchscript(network: VoxelMorph, shape: Sequence[int]) -> torch.jit.ScriptModule:
    """As :func:`export_program`, as TorchScript, which takes (B, 2, *spatial) and returns (B, D, *spatial), voxels."""
    graph = export_program(network, shape).module()  # tracing the network would fix parts of the shape without a word
    _, pair, expected = _reference(network, shape)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # of TorchScript, which MONAI's bundles use
        warnings.filterwarnings("ignore", message="Converting a tensor")  # in the graph's own check of the shape
        traced: Any = torch.jit.trace(graph, pair, check_trace=False)
        script = torch.jit.script(_OfOneShape(traced, [2, *shape]))
    _check(script, pair, expected)
    return script


class _OfOneShape(nn.Module):
    """Refuses what a traced network was not traced for; otherwise it could give a wrong answer."""

    def __init__(self, traced: nn.Module, shape: list[int]) -> None:
        super().__init__()
        self.traced = traced
        self.shape = shape

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[1:] != self.shape:
            raise ValueError(f"this network takes images (B, {self.shape}), got {image.shape}")
        return self.traced(image)


def _reference(network: VoxelMorph, shape: Sequence[int]) -> tuple[nn.Module, Tensor, Tensor]:
    """The network on the CPU, a pair of images of noise and their displacement.

    Running it first also makes the grids, which become constants of the graphs.
    """
    eager = DisplacementNetwork(copy.deepcopy(network).cpu()).eval()
    pair = torch.rand(1, 2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return eager, pair, check_finite(eager(pair), "the network for two images of noise")


def _check(exported: Callable[[Tensor], Tensor], pair: Tensor, expected: Tensor) -> None:
    with torch.no_grad():
        difference = float((exported(pair) - expected).abs().max())
    if not difference <= TOLERANCE:
        raise RuntimeError(f"the exported network differs from the original by {difference:g} voxels")
