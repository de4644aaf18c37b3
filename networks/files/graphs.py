"""Export a network as a graph that runs without smoothmorph: ``torch.export``, or TorchScript for MONAI bundles.

A graph is made for one image size and refuses any other. It is compared with the network before it is returned.
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
"""Largest allowed difference between graph and network, in voxels; on a CPU no difference was seen."""


def export_program(network: VoxelMorph, shape: Sequence[int]) -> torch.export.ExportedProgram:
    """Export ``network``, as a :class:`DisplacementNetwork`, to a ``torch.export`` program on the CPU.

    Args:
        network: the network; it is not changed.
        shape: image size (*spatial). The program takes (1, 2, *spatial) and returns (1, D, *spatial) in voxels.

    Raises:
        ValueError: the shape has another number of axes than the network, or weights exceed single precision.
        RuntimeError: the program's result differs from the network's.
    """
    eager, pair, expected = _reference(network, shape)
    with torch.no_grad():
        program = torch.export.export(eager, (pair,), strict=False)
    _check(program.module(), pair, expected)
    return program


def export_torchscript(network: VoxelMorph, shape: Sequence[int]) -> torch.jit.ScriptModule:
    """Export ``network`` to TorchScript, which takes (B, 2, *spatial) and returns (B, D, *spatial) in voxels.

    Arguments and errors are those of :func:`export_program`.
    """
    graph = export_program(network, shape).module()  # tracing the network itself would silently fix parts of the shape
    _, pair, expected = _reference(network, shape)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # MONAI's bundles use TorchScript
        warnings.filterwarnings("ignore", message="Converting a tensor")  # from the graph's check of the shape
        traced: Any = torch.jit.trace(graph, pair, check_trace=False)
        script = torch.jit.script(_OfOneShape(traced, [2, *shape]))
    _check(script, pair, expected)
    return script


class _OfOneShape(nn.Module):
    """Refuses images of any size that the network was not traced for; the result could be wrong."""

    def __init__(self, traced: nn.Module, shape: list[int]) -> None:
        super().__init__()
        self.traced = traced
        self.shape = shape

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[1:] != self.shape:
            raise ValueError(f"this network takes images (B, {self.shape}), got {image.shape}")
        return self.traced(image)


def _reference(network: VoxelMorph, shape: Sequence[int]) -> tuple[nn.Module, Tensor, Tensor]:
    """Return the network on the CPU, a pair of noise images and their displacement.

    This first run also makes the grids, which become constants of the graph.
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
