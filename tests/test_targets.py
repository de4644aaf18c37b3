"""Every transform, loss and network can be built by ``_target_`` in a bundle's configuration, and called."""

import importlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle.config_parser import ConfigParser
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import Transform
from torch import nn

import smoothmorph.networks
import smoothmorph.transforms

SHAPE = (16, 24)
FIELD = torch.rand(1, 2, *SHAPE, generator=torch.Generator().manual_seed(0))
IMAGES = torch.rand(2, 1, 1, *SHAPE, generator=torch.Generator().manual_seed(1))
LABEL = (IMAGES[0, 0] * 3).floor()
SAMPLE = {"image": IMAGES[0, 0], "moving": IMAGES[0, 0], "fixed": IMAGES[1, 0], "displacement": FIELD[0]}
REGISTRATION = smoothmorph.networks.Registration(IMAGES[0], FIELD, FIELD)
NETWORK = {"_target_": "smoothmorph.networks.VoxelMorph", "spatial_dims": 2, "integration_steps": 3}

FOLDER = Path(tempfile.mkdtemp())

CASES: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "transforms.DeformationGrid": ({"spacing": 4}, (FIELD[0],)),
    "transforms.DeformationGridd": ({"keys": "displacement"}, (SAMPLE,)),
    "transforms.DropSingletons": ({"spatial_dims": 2}, (IMAGES[0, 0, ..., None],)),
    "transforms.DropSingletonsd": ({"keys": ["moving", "fixed"], "spatial_dims": 2}, (SAMPLE,)),
    "transforms.JacobianDeterminant": ({}, (FIELD[0],)),
    "transforms.JacobianDeterminantd": ({"keys": "displacement", "output_keys": ["det"]}, (SAMPLE,)),
    "transforms.PairImages": ({}, (IMAGES[0, 0], IMAGES[1, 0])),
    "transforms.PairImagesd": ({"keys": ["moving", "fixed"], "output_key": "image"}, (SAMPLE,)),
    "transforms.RandDiffeomorphic": ({"prob": 1.0, "magnitude": [1, 2]}, (IMAGES[0, 0],)),
    "transforms.RandDiffeomorphicd": ({"keys": ["moving", "fixed"], "prob": 1.0}, (SAMPLE,)),
    "transforms.RandShapes": ({"prob": 1.0, "regions": 4}, (LABEL,)),
    "transforms.RandShapesd": ({"keys": "label", "prob": 1.0}, ({"label": LABEL},)),
    "transforms.RandSyntheticImage": ({"classes": [0, 1, 1]}, (LABEL,)),
    "transforms.RandSyntheticImaged": ({"keys": "image", "label_keys": "label"}, ({"label": LABEL},)),
    "transforms.SaveField": ({"output_dir": str(FOLDER)}, (MetaTensor(FIELD[0]),)),
    "transforms.SaveFieldd": ({"keys": "u", "output_dir": str(FOLDER)}, ({"u": MetaTensor(FIELD[0])},)),
    "transforms.WarpImage": ({"mode": "nearest"}, (IMAGES[0, 0], FIELD[0])),
    "transforms.WarpImaged": ({"keys": "moving", "reference_key": "fixed"}, (SAMPLE,)),
    "networks.CharbonnierLoss": ({"epsilon": 0.1}, (IMAGES[0], IMAGES[1])),
    "networks.CurvaturePenalty": ({}, (FIELD,)),
    "networks.DigitalFoldingPenalty": ({}, (FIELD,)),
    "networks.DivergencePenalty": ({"spacing": [1.0, 2.0]}, (FIELD,)),
    "networks.FoldingPenalty": ({}, (FIELD,)),
    "networks.FieldModel": ({"integration_downsize": 1}, (FIELD, IMAGES[0])),
    "networks.GradICONPenalty": ({}, (FIELD, -FIELD)),
    "networks.GradientMSELoss": ({}, (IMAGES[0], IMAGES[1])),
    "networks.InverseConsistencyPenalty": ({}, (FIELD, -FIELD)),
    "networks.LinearElasticityPenalty": ({}, (FIELD,)),
    "networks.LogJacobianPenalty": ({}, (FIELD,)),
    "networks.MutualInformationLoss": ({"bins": 16}, (IMAGES[0], IMAGES[1])),
    "networks.SobolevPenalty": ({"reduction": "sum"}, (FIELD,)),
    "networks.TotalVariationPenalty": ({}, (FIELD,)),
    "networks.DVF2DDF": ({"num_steps": 5}, (FIELD,)),
    "networks.BendingEnergy": ({"form": "laplacian"}, (FIELD,)),
    "networks.ConditionalVoxelMorph": ({"network": NETWORK, "ranges": {"l2": [0.01, 1.0]}}, (IMAGES[0], IMAGES[1])),
    "networks.DisplacementNetwork": ({"network": NETWORK}, (torch.cat([*IMAGES], dim=1),)),
    "networks.L1Penalty": ({"spacing": [1.0, 2.0]}, (FIELD,)),
    "networks.L2Penalty": ({"multiplier": 2.0}, (FIELD,)),
    "networks.LocalNCCLoss": ({"spatial_dims": 2}, (IMAGES[0], IMAGES[1])),
    "networks.Objective": ({"spatial_dims": 2, "penalty": "bending-pure", "weight": 0.1}, (REGISTRATION, IMAGES[1])),
    "networks.Penalty": ({"penalty": "l1"}, (FIELD,)),
    "networks.RefineRegistration": ({"steps": 2, "integration_steps": 3}, (IMAGES[0, 0], IMAGES[1, 0], FIELD[0])),
    "networks.RefineRegistrationd": ({"steps": 2, "penalty": "l1", "velocity_key": "v"}, (SAMPLE,)),
    "networks.VoxelMorph": ({"spatial_dims": 2}, (IMAGES[0], IMAGES[1])),
    "networks.Warp": ({"padding_mode": "zeros"}, (IMAGES[0], FIELD)),
}


def _public() -> dict[str, type]:
    """The public transforms and modules of the packages transforms and networks."""
    found = {}
    for room in (smoothmorph.transforms, smoothmorph.networks):
        for name in room.__all__:
            part = getattr(room, name)
            if isinstance(part, type) and issubclass(part, Transform | nn.Module):
                found[f"{room.__name__.removeprefix('smoothmorph.')}.{name}"] = part
    return found


PUBLIC = _public()


@pytest.mark.parametrize("room", ["transforms", "networks", "pipeline", "experiments"])
def test_every_public_name_of_a_room_loads(room):
    face = importlib.import_module(f"smoothmorph.{room}")
    assert [name for name in face.__all__ if not hasattr(face, name)] == []
    assert set(face.__all__) <= set(dir(face))


@pytest.mark.parametrize("name", PUBLIC)
def test_it_is_made_and_called(name):
    room, _, given = name.rpartition(".")
    arguments, inputs = CASES[f"{room}.{PUBLIC[name].__name__}"]  # also for alternative names
    made = ConfigParser({"part": {"_target_": f"smoothmorph.{name}", **arguments}}).get_parsed_content("part")
    assert type(made) is PUBLIC[name], given
    direct = made(*inputs)
    tensors = [part for part in _parts(direct) if isinstance(part, torch.Tensor)]
    assert tensors
    assert all(torch.isfinite(tensor).all() for tensor in tensors)


def test_nothing_is_left_over():
    assert set(CASES) == {f"{name.rpartition('.')[0]}.{part.__name__}" for name, part in PUBLIC.items()}


def _parts(result: Any) -> list[Any]:
    if isinstance(result, dict):
        return list(result.values())
    return list(result) if isinstance(result, tuple) else [result]
