"""A foreign project: plain MONAI with two transforms and one loss of smoothmorph.

A registration network of MONAI learns to align randomly deformed images. test_foreign.py runs this file in an
environment where smoothmorph was installed from its wheel.
"""
# pyright: reportPrivateImportUsage=false
# MONAI's names are imported from the places that its documentation gives.

import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import CacheDataset, DataLoader, MetaTensor, decollate_batch
from monai.networks.blocks import Warp
from monai.networks.nets import RegUNet
from monai.transforms import (
    Compose,
    CopyItemsd,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    Orientationd,
    ScaleIntensityd,
)
from monai.utils import set_determinism

from smoothmorph.networks import BendingEnergy
from smoothmorph.transforms import JacobianDeterminantd, RandDiffeomorphicd

AFFINE = np.diag([-2.0, -2.0, 3.0, 1.0])


def write_images(folder: Path, count: int = 4) -> list[dict[str, str]]:
    x = np.indices((16, 16, 16)) - 7.5
    items = []
    for index in range(count):
        image = 100 * np.exp(-(x**2).sum(0) / (20 + 5 * index))
        for name, values in (("image", image.astype(np.float32)), ("label", (image > 40).astype(np.uint8))):
            nib.save(nib.Nifti1Image(values, AFFINE), folder / f"{name}{index}.nii.gz")
        items.append({name: str(folder / f"{name}{index}.nii.gz") for name in ("image", "label")})
    return items


def main(folder: Path) -> None:
    set_determinism(seed=0)
    both = ["image", "label"]
    deform = RandDiffeomorphicd(both, 1.0, (2, 3), (4, 5), mode=["bilinear", "nearest"], displacement_key="u")
    preparing = Compose(
        [
            LoadImaged(both),
            EnsureChannelFirstd(both),
            Orientationd(both, axcodes="RAS", labels=None),
            ScaleIntensityd("image"),
            CopyItemsd("image", names="original"),
            deform,
            JacobianDeterminantd("u", output_keys="determinant"),
        ]
    )
    dataset = CacheDataset(write_images(folder), preparing, num_workers=1, progress=False)
    loader = DataLoader(dataset, batch_size=2, num_workers=2)

    network = RegUNet(3, 2, 4, depth=2)
    warp, penalty = Warp(), BendingEnergy()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    batch = {}
    for _ in range(3):
        for batch in loader:
            moving, fixed = batch["original"].as_tensor(), batch["image"].as_tensor()
            field = network(torch.cat([moving, fixed], dim=1))
            loss = (warp(moving, field) - fixed).square().mean() + 0.01 * penalty(field)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    undo = Invertd(both, preparing, nearest_interp=[False, True])
    items: Any = decollate_batch(next(iter(loader)))
    back = [undo(item) for item in items]
    print(
        json.dumps(
            {
                "modules": [sys.modules[name].__file__ for name in ("smoothmorph.networks", "smoothmorph.transforms")],
                "losses": losses,
                "tracked": all(isinstance(batch[key], MetaTensor) for key in ("image", "label", "u")),
                "determinant": float(batch["determinant"].min()),
                "labels": sorted(set(batch["label"].flatten().tolist())),
                "affines": [np.diag(item["image"].affine).tolist() for item in back],
                "left": [len(item["image"].applied_operations) for item in back],
                "moved": float((batch["image"] - batch["original"]).abs().max()),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
