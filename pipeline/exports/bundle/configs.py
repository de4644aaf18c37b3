"""The inference configuration of a bundle in MONAI's syntax: ``_target_`` names a component, ``@`` a reference."""

from typing import Any

from ....networks import VoxelMorph
from ...settings.intensities import INTENSITIES
from ...settings.schema import TrialSettings

Config = dict[str, Any]


def inference(network: VoxelMorph, settings: TrialSettings | None) -> Config:
    """``configs/inference.json``: it registers the pairs of a list and writes warped images and displacements.

    Images are read and scaled as in training. The network gets the scaled images; the warped image has the unscaled
    intensities. ``field_saver`` writes the displacement for ITK and ANTs. It can be replaced by another transform of
    ``pred``: (D, *spatial) in voxels of the fixed image's grid, with the affine of the fixed image.
    """
    warping = {"displacement_key": "pred", "padding_mode": network.padding_mode, "reference_key": "pred"}
    return {
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/sample_data'",
        "pairs": "$@dataset_dir + '/pairs.json'",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": {
            "_target_": "smoothmorph.networks.DisplacementNetwork",
            "network": {"_target_": "smoothmorph.networks.VoxelMorph", **network.config},
        },
        "network": "$@network_def.to(@device)",
        "datalist": {"_target_": "smoothmorph.pipeline.pair_list.read_pairs", "file": "@pairs"},
        "preprocessing": {"_target_": "Compose", "transforms": _preprocessing(network.spatial_dims, settings)},
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": {"_target_": "SimpleInferer"},
        "image_saver": {
            "_target_": "SaveImaged",
            "keys": "warped",
            "output_dir": "@output_dir",
            "output_postfix": "warped",
            "output_ext": ".nii.gz",
            "writer": "smoothmorph.transforms.SliceWriter",
            "print_log": False,
        },
        "field_saver": {"_target_": "smoothmorph.transforms.SaveFieldd", "keys": "pred", "output_dir": "@output_dir"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "smoothmorph.transforms.WarpImaged", "keys": "warped", **warping},
                *_on_the_fixed_grid(settings),
                "@image_saver",
                "@field_saver",
            ],
        },
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
                "map_location": "@device",
            },
            {"_target_": "StatsHandler", "iteration_log": False},
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "initialize": ["$monai.utils.set_determinism(seed=0)"],
        "run": ["$@evaluator.run()"],
    }


def refinement(network: VoxelMorph, settings: TrialSettings | None) -> Config:
    """``configs/refine.json``, given after ``inference.json``: it fine-tunes the network's field for each pair.

    ``refinement::steps`` is the number of steps. The objective is that of the training, as far as it is known.
    """
    objective = {} if settings is None else settings.objective.arguments()
    return {
        "network_def::output": "velocity",
        "refinement": {
            "_target_": "smoothmorph.networks.RefineRegistrationd",
            **{"keys": ["moving", "fixed"], "field_key": "pred", "displacement_key": "pred", "warped_key": "refined"},
            **{"integration_steps": network.integration_steps, "padding_mode": network.padding_mode, "steps": 50},
            **objective,
        },
        "postprocessing::transforms::0": {
            "_target_": "Compose",
            "transforms": ["@refinement", inference(network, settings)["postprocessing"]["transforms"][0]],
        },
    }


def _preprocessing(spatial_dims: int, settings: TrialSettings | None) -> list[Config]:
    images: Config = {"keys": ["moving", "fixed"]}
    steps = [
        {"_target_": "LoadImaged", **images, "reader": "NibabelReader", "dtype": "$numpy.float64"},
        {"_target_": "EnsureChannelFirstd", **images, "channel_dim": "no_channel"},
    ]
    singletons = {"_target_": "smoothmorph.transforms.DropSingletonsd", **images, "spatial_dims": spatial_dims}
    steps += [singletons, {"_target_": "CopyItemsd", "keys": "moving", "names": "warped"}]
    if settings is not None:
        scaling = INTENSITIES[settings.cohort.intensity]
        if scaling.target:
            steps.append({"_target_": scaling.target.replace(":", "."), **scaling.arguments, **images})
        if settings.cohort.size is not None:
            every = {"keys": ["moving", "fixed", "warped"]}
            steps.append({"_target_": "ResizeWithPadOrCropd", **every, "spatial_size": list(settings.cohort.size)})
    steps.append({"_target_": "EnsureTyped", "keys": ["moving", "fixed", "warped"], "dtype": "$torch.float32"})
    return [*steps, {"_target_": "smoothmorph.transforms.PairImagesd", **images}]


def _on_the_fixed_grid(settings: TrialSettings | None) -> list[Config]:
    """The transforms that undo the padding and cropping of the fixed image."""
    if settings is None or settings.cohort.size is None:
        return []
    undone = {"transform": "@preprocessing", "orig_keys": "fixed", "nearest_interp": False}
    return [{"_target_": "Invertd", "keys": ["warped", "pred"], **undone}]
