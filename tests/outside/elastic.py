"""A penalty: the linear elastic energy of a field."""

from smoothmorph import transforms
from smoothmorph.networks import PenaltyEntry

ENTRY = PenaltyEntry(
    name="elastic",
    title="Linear elastic",
    meaning="mean of μ Σ ε² + λ (div u)² / 2 with Lamé's constants μ = λ = 1, ε the linear strain",
    source="Broit, Optimal Registration of Deformed Images, 1981",
    target="outside.elastic:elastic_energy",
)


def elastic_energy(field, spacing=None):
    """The energy (B,) of u (B, D, *spatial) in voxels."""
    derivatives = transforms.forward_differences(transforms.field_in_mm(field, spacing), spacing)
    least = [min(part.shape[axis] for part in derivatives) for axis in range(2, field.ndim)]
    parts = [part[(..., *(slice(size) for size in least))] for part in derivatives]  # part a: ∂u/∂x_a
    axes = range(len(parts))
    strain = sum(((parts[a][:, b] + parts[b][:, a]) / 2).square() for a in axes for b in axes)
    divergence = sum(parts[a][:, a] for a in axes)
    return (strain + divergence.square() / 2).flatten(1).mean(1)
