"""The convolution kernels of VoxelMorph's U-Net, computed from its parameters once per forward pass.

Kernels are rounded to the precision of the convolutions (autocast's). The kernel of a decoder level is split in two:
one part for the skip connection and one for the upsampled features (see ``unet``). All this is a single node of
autograd's graph. As a hundred tiny operations, it made a 2-D step in bfloat16 4 % slower.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...transforms.basics.cached_tensors import keep


class Kernels(NamedTuple):
    """The kernels of one convolution.

    ``weight`` is (out, in, 3, ...) and ``bias`` (out,). In a decoder level, ``weight`` is for the skip connection and
    ``transposed`` (in, out, 4, ...) for the features to upsample.
    """

    weight: Tensor
    bias: Tensor
    transposed: Tensor | None


def make_kernels(convolutions: Sequence[Any], skips: Sequence[int]) -> list[Kernels]:
    """Return the kernels of ``convolutions``; the first ``skips`` input channels of each are a skip connection."""
    parameters = [tensor for convolution in convolutions for tensor in (convolution.weight, convolution.bias)]
    make = _Make.apply if torch.is_grad_enabled() else _Make.forward
    made = iter(make(computed_in(parameters[0]), skips, *parameters))
    return [Kernels(next(made), next(made), next(made) if skip else None) for skip in skips]


def computed_in(weight: Tensor) -> torch.dtype:
    """Return the dtype to convolve in: autocast's, except that double precision stays as it is."""
    kind = weight.device.type
    if weight.dtype == torch.float64 or not torch.is_autocast_enabled(kind):
        return weight.dtype
    return torch.get_autocast_dtype(kind)


class _Make(torch.autograd.Function):
    """Makes the kernels; linear in the parameters, so second derivatives work, too."""

    generate_vmap_rule = True

    @staticmethod
    def forward(dtype: torch.dtype, skips: Sequence[int], *parameters: Tensor) -> tuple[Tensor, ...]:
        made = []
        for weight, bias, skip in zip(parameters[::2], parameters[1::2], skips, strict=True):
            made += [weight[:, :skip] if skip else weight, bias]
            if skip:
                made.append(_transposed(weight[:, skip:]))
        return tuple(kernel.to(dtype) for kernel in made)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.skips, ctx.dtype = inputs[1], inputs[2].dtype

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        given = (gradient.to(ctx.dtype) for gradient in gradients)
        parameters: list[Tensor] = []
        for skip in ctx.skips:
            weight, bias = next(given), next(given)
            if skip:
                weight = torch.cat([weight, _transposed_backward(next(given))], dim=1)
            parameters += [weight, bias]
        return None, None, *parameters


def _transposed(weight: Tensor) -> Tensor:
    """Turn a kernel used after nearest upsampling (out, in, 3, ...) into a transposed kernel (in, out, 4, ...).

    Along each axis, weight t of fine voxel j multiplies fine voxel j + t - 1, which is a copy of the coarse voxel
    i = (j + t - 1) // 2. Entry k = j - 2 i + 1 of the transposed kernel is therefore the sum of the weights t with
    2 <= t + k <= 3.
    """
    axes = weight.ndim - 2
    with torch.autocast(weight.device.type, enabled=False):  # round the sums of weights only once
        kernel = weight.transpose(0, 1).reshape(-1, 3**axes) @ _spread(axes, weight.dtype, weight.device)
    return kernel.view(weight.shape[1], weight.shape[0], *[4] * axes)


def _transposed_backward(gradient: Tensor) -> Tensor:
    axes = gradient.ndim - 2
    with torch.autocast(gradient.device.type, enabled=False):
        weight = gradient.reshape(-1, 4**axes) @ _spread(axes, gradient.dtype, gradient.device).T
    return weight.view(*gradient.shape[:2], *[3] * axes).transpose(0, 1)


@keep
def _spread(axes: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the 0/1 matrix (3^D, 4^D) that says which of the 3^D weights add to which of the 4^D entries."""
    one_axis = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0]], dtype=dtype, device=device)
    return reduce(torch.kron, [one_axis] * axes)
