"""Other contrasts of the 12 whole brains, to measure how a network registers images of two contrasts.

    python benchmarks/brain_contrasts.py data/brain-3d-2mm data/brain-contrasts
    smoothmorph run brain-contrasts --data-root data/brain-contrasts

Writes, for each scan of ``scans.csv``, its T1 image, the same with the intensities within the brain inverted, and an
image made from its tissue map, as bright as a T2-weighted scan: CSF 1, gray matter 0.6, white matter 0.35, blurred,
with noise. The pairs are those of `optimum-brain`: the moving image is a T1 image, the fixed one inverted or made.
"""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from smoothmorph.experiments.study.study import load_study
from smoothmorph.pipeline.cohorts.preparation import prepare

BRIGHTNESS = np.array([0.0, 1.0, 0.6, 0.35])  # of the background and of the tissues 1 to 3
BLUR, NOISE = 0.5, 0.02  # voxels; share of the brightest tissue


def inverted(image: np.ndarray, tissues: np.ndarray) -> np.ndarray:
    """The image (*spatial) with its intensities mirrored within the brain; 0 outside."""
    brain = image > 0
    most = np.percentile(image[brain], 99.5)
    return np.where(brain, 1.1 - np.clip(image / most, 0, 1), 0)  # the brightest voxels stay above the background


def made(image: np.ndarray, tissues: np.ndarray) -> np.ndarray:
    """An image (*spatial) of the tissue map alone."""
    noise = np.random.default_rng(0).normal(0, NOISE, tissues.shape)
    return np.clip(gaussian_filter(BRIGHTNESS[tissues], BLUR) + noise * (tissues > 0), 0, None)


OTHERS = {"inverted": inverted, "tissues": made}
CONTRASTS = {"t1": lambda image, tissues: image, **OTHERS}


def main(data: Path, out: Path) -> None:
    scans = pd.read_csv(data / "scans.csv", dtype=str)
    rows = []
    out.mkdir(parents=True, exist_ok=True)
    for scan in scans.to_dict("records"):
        image = nib.load(data / scan["image"])
        tissues = np.asarray(nib.load(data / scan["tissues"]).dataobj).astype(int)
        for contrast, make in CONTRASTS.items():
            file = f"{scan['id']}_{contrast}.nii.gz"
            values = make(np.asarray(image.dataobj, np.float32), tissues)
            nib.save(nib.Nifti1Image(values.astype(np.float32), image.affine), out / file)
            label = str((data / scan["label"]).resolve())
            rows.append({"id": f"{scan['id']}_{contrast}", "image": file, "label": label, "group": scan["id"]})
    pd.DataFrame(rows).to_csv(out / "scans.csv", index=False)
    settings = load_study("optimum-brain").trials[0]
    pairs = pd.DataFrame(prepare(settings, data).test_pairs, columns=["moving", "fixed"])
    for contrast in OTHERS:
        other = pairs.assign(moving=pairs["moving"] + "_t1", fixed=pairs["fixed"] + f"_{contrast}")
        other.to_csv(out / f"{contrast}.csv", index=False)
    print(f"{out}: {len(rows)} images, {len(pairs)} pairs for each of {', '.join(OTHERS)}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
