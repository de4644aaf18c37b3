"""Fixtures that several test files share."""

import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data: ``neurite-oasis-2d/`` and ``Task04_Hippocampus/`` in their public layout."""
    folder = os.environ.get("SMOOTHMORPH_DATA")
    if not folder:
        pytest.skip("set SMOOTHMORPH_DATA to the folder of real data")
    return Path(folder).resolve()


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory) -> None:
    """Tests do not write to the user's cache folder."""
    os.environ["SMOOTHMORPH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_cohort(tmp_path_factory):
    """A function dims -> folder of a table cohort with twelve images of a disc (in 3-D, a ball) and label maps."""
    folders: dict[int, Path] = {}

    def make(dims: int) -> Path:
        if dims not in folders:
            folders[dims] = tmp_path_factory.mktemp(f"tiny{dims}")
            _write_discs(folders[dims], size=32 if dims == 2 else 16, dims=dims)
        return folders[dims]

    return make


def _write_discs(folder: Path, size: int, dims: int, subjects: int = 12) -> None:
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(size)] * dims, indexing="ij"))
    lines = ["id,image,label"]
    for subject in range(subjects):
        centre = size / 2 + rng.uniform(-size / 12, size / 12, dims)
        distance = np.linalg.norm(grid - centre.reshape(-1, *[1] * dims), axis=0)
        image = 1 / (1 + np.exp(distance - size / 4))  # a soft edge
        for name, values in (("image", image.astype(np.float32)), ("label", (image > 0.5).astype(np.uint8))):
            nib.save(nib.Nifti1Image(values, np.eye(4)), folder / f"{name}{subject}.nii.gz")
        lines.append(f"s{subject},image{subject}.nii.gz,label{subject}.nii.gz")
    (folder / "subjects.csv").write_text("\n".join(lines))


@pytest.fixture
def no_figures(monkeypatch):
    """Runs draw no figures."""
    monkeypatch.setattr("smoothmorph.experiments.figures.draw_figures", lambda *_: [])


@pytest.fixture
def root(tmp_path) -> Path:
    """An empty data folder."""
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium with Debian's driver; without it, Selenium would download a driver."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    options = ChromeOptions()
    options.binary_location = program
    for word in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        f"user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):  # fmt: skip
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    os.environ["SE_AVOID_STATS"] = "true"
    chrome = Chrome(options=options, service=Service(driver))
    yield chrome
    chrome.quit()
