"""One pair across λ and penalties, in the report: its data, its pictures, and what its controls do in a browser."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from screens import sized
from smoothmorph.experiments.figures.examples import arrays_of
from smoothmorph.experiments.figures.panels import brightest
from smoothmorph.experiments.outputs.tables import collect
from smoothmorph.experiments.report import explorer as module
from smoothmorph.experiments.report.blocks import Explorer, Page, Section, data_uri
from smoothmorph.experiments.report.explorer import PANELS, one_pair
from smoothmorph.experiments.report.page import render
from smoothmorph.experiments.report.panel_images import longest_side, moving_and_fixed, registered
from smoothmorph.experiments.store.run_folder import Run
from test_report import make

CURVES = {
    "groups": [
        {"axes": {"objective.penalty": ["l2"], "objective.lambda": [1, 0.02, 0.2], "model.integration_steps": [0, 7]}},
        {"set": {"objective.penalty": "l1"}, "axes": {"objective.lambda": [0.02, 0.2, 1], "seed": [1, 0]}},
    ]
}
"""In these rows the SDlogJ of L1 at λ = 0.2 is the nearest to that of L2 at λ = 1: 0.021 and 0.017."""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    study = {"groups": [{"name": f"group{place}", **group} for place, group in enumerate(CURVES["groups"])]}
    return make(tmp_path_factory.mktemp("explorer") / "run", study)


@pytest.fixture(scope="module")
def rows(run) -> pd.DataFrame:
    return collect(run)


@pytest.fixture(scope="module")
def block(run, rows) -> Explorer:
    found = one_pair(run, rows)
    assert found is not None
    return found


@pytest.fixture
def one_pair_only(monkeypatch):
    """Fewer pictures, for tests that do not look at them."""
    monkeypatch.setattr(module, "LARGEST", 0)


def row_of(rows: pd.DataFrame, pair: int, **setting) -> pd.Series:
    own = rows[(rows["moving"] == f"subject-{pair:03d}") & (rows["seed"] == 0)]
    for key, value in {"model": "diffeomorphic", **setting}.items():
        own = own[own[{"weight": "lambda"}.get(key, key)] == value]
    assert len(own) == 1
    return own.iloc[0]


def pictures_of(run: Run, trial: str, pair: int) -> list[str]:
    """The five pictures that the page must show."""
    own = {name: array[pair] for name, array in arrays_of(run, trial).items()}
    top = brightest(own["moving"], own["fixed"])
    files = moving_and_fixed(own["moving"], own["fixed"], down=True)
    files += registered(own["warped"], own["displacement"], top, down=True)
    return [data_uri("image/webp", content) for content in files]


def html_of(block) -> str:
    return render(Page("title", "", "", [Section("pair", block.title, [block])]))


# The data


def test_every_penalty_in_every_setting_has_its_lambdas_in_order(block):
    assert block.title == "One pair across λ and penalties"
    assert [(choice.name, choice.setting) for choice in block.choices] == [
        ("L1", "diffeomorphic model"), ("L2", "diffeomorphic model"), ("L2", "displacement model"),
    ]  # fmt: skip
    assert [choice.weights for choice in block.choices] == [["0.02", "0.2", "1"]] * 3
    assert (block.names, block.pairs, block.names_label, block.has_slider) == (["L1", "L2"], 3, "Penalty", True)
    assert "another penalty or setting, λ moves to where SDlogJ is nearest" in block.intro


def test_the_numbers_are_those_of_the_pair_and_of_the_first_seed(block, rows):
    assert block.metrics[:3] == ["MSE", "Dice", "HD95 (mm)"]
    for weight, pairs in zip((0.02, 0.2, 1), block.choices[0].shown, strict=True):
        for place, shown in enumerate(pairs):
            own = row_of(rows, place, penalty="l1", weight=weight)
            assert shown.pair == f"subject-{place:03d} onto subject-{place + 1:03d}"
            assert shown.smoothness == own["displacement_sdlogj"]
            before, after = map(float, shown.numbers[0])
            assert (before, after) == (pytest.approx(own["mse_before"], 0.01), pytest.approx(own["mse"], 0.01))
            assert float(shown.numbers[1][1]) == pytest.approx(own["dice"], abs=6e-4)
            folding = block.metrics.index("folding, displacement (%)")
            assert shown.numbers[folding] == ("", "0")


def test_the_pictures_are_those_of_the_trial_and_each_is_kept_once(block, run, rows):
    assert len(block.images) == len(set(block.images))
    everywhere = [shown for choice in block.choices for pairs in choice.shown for shown in pairs]
    assert len({tuple(shown.images[:2]) for shown in everywhere}) == 3  # moving and fixed image, once for each pair
    assert len({shown.images[3] for shown in everywhere}) == len(everywhere) == 27
    shown = block.choices[2].shown[0][1]
    trial = row_of(rows, 1, penalty="l2", weight=0.02, model="displacement")["trial"]
    assert [block.images[place] for place in shown.images] == pictures_of(run, trial, 1)


def test_as_many_pairs_are_shown_as_fit_and_at_least_one(run, rows, monkeypatch):
    rows = rows[rows["penalty"] == "l1"]

    def pairs(largest: int) -> tuple[int, int]:
        monkeypatch.setattr(module, "LARGEST", largest)
        block = one_pair(run, rows)
        assert block is not None
        return block.pairs, sum(map(len, block.images))

    one, size = pairs(0)
    assert one == 1
    assert pairs(round(2.3 * size))[0] == 2
    assert pairs(round(3.3 * size))[0] == 3


def test_the_panels_of_many_trials_are_smaller():
    assert [longest_side(count) for count in (2, 84, 100, 400, 10_000)] == [288, 288, 288, 144, 96]


def test_all_trials_show_the_pairs_that_every_trial_has(tmp_path):
    run = make(tmp_path / "run", {"axes": {"objective.lambda": [0.1, 1.0]}})
    path = run.path / list(run.trials)[1] / "examples.npz"
    with np.load(path) as kept:
        fewer = {name: kept[name][:2] for name in kept.files if kept[name].ndim}
    np.savez(path, allow_pickle=False, **fewer)
    block = one_pair(run, collect(run))
    assert block is not None
    assert [len(pairs) for pairs in block.choices[0].shown] == [2, 2]


@pytest.mark.parametrize("axes", [{"seed": [0, 1]}, {"objective.penalty": ["l2"]}])
def test_with_one_lambda_of_one_penalty_there_is_nothing_to_choose(axes, tmp_path):
    run = make(tmp_path / "run", {"axes": axes})
    assert one_pair(run, collect(run)) is None


def test_without_examples_there_is_nothing_to_show(tmp_path):
    run = make(tmp_path / "run", {"axes": {"objective.lambda": [0.1, 1.0]}})
    for file in run.path.glob("*/examples.npz"):
        file.unlink()
    assert one_pair(run, collect(run)) is None


def test_penalties_with_one_lambda_each_have_no_slider(tmp_path, one_pair_only):
    run = make(tmp_path / "run", {"axes": {"objective.penalty": ["l1", "l2"]}})
    block = one_pair(run, collect(run))
    assert block is not None
    assert (block.title, block.has_slider) == ("One pair across penalties", False)
    html = html_of(block)
    assert "<input" not in html
    assert html.count("<option>") == 2


def test_a_baseline_is_a_choice_without_lambda_and_the_identity_is_none(tmp_path, one_pair_only):
    groups = [
        {"name": "curve", "axes": {"objective.lambda": [0.1, 1.0]}},
        {"name": "baselines", "axes": {"model.method": ["identity", "syn"]}},
    ]
    run = make(tmp_path / "run", {"groups": groups})
    block = one_pair(run, collect(run))
    assert block is not None
    assert [(choice.name, choice.weights) for choice in block.choices] == [("L2", ["0.1", "1"]), ("SyN", [""])]
    assert (block.title, block.names_label) == ("One pair across λ", "Penalty or method")


def test_the_numbers_of_a_refined_network_are_those_before_refinement(tmp_path, one_pair_only):
    run = make(tmp_path / "run", {"axes": {"objective.lambda": [0.1, 1.0]}})
    rows = collect(run)
    both = pd.concat([rows.assign(refinement_steps=20, mse=1.0), rows.assign(refinement_steps=0)])
    block, plain = one_pair(run, both), one_pair(run, rows)
    assert block is not None
    assert plain is not None
    assert block.choices == plain.choices


def test_a_pair_without_a_row_has_pictures_and_no_numbers(tmp_path):
    run = make(tmp_path / "run", {"axes": {"objective.lambda": [0.1, 1.0]}})
    rows = collect(run)
    block = one_pair(run, rows[rows["moving"] != "subject-001"])
    assert block is not None
    first, second, _ = block.choices[0].shown[0]
    assert first.numbers[0][1]
    assert second.smoothness is None
    assert set(second.numbers) == {("", "")}
    assert len(second.images) == len(PANELS)


def test_a_hostile_name_stays_a_name(block):
    hostile = "</script><script>document.title = 'taken'</script>"
    html = html_of(replace(block, choices=[replace(block.choices[0], name=hostile, setting=hostile)]))
    assert html.count("<script>") == html.count("</script>") - 1 == 1


# The pictures


def pixels(content: bytes) -> np.ndarray:
    """The picture (rows, columns, 3), 0 to 1."""
    return imread(io.BytesIO(content), format="webp")[..., :3] / 255.0


@pytest.mark.parametrize("down", [True, False])
def test_axis_0_points_right_and_axis_1_down_or_up(down):
    corner = np.zeros((40, 20))
    corner[:10, :5] = 1  # the first quarter of both axes
    picture = pixels(moving_and_fixed(corner, corner, down)[0]).mean(axis=2)
    assert picture.shape == (144, 288)
    first, last = picture[:30, :60].mean(), picture[-30:, :60].mean()
    assert (first > 0.97, last < 0.03) == (down, down)
    assert picture[:, 90:].max() < 0.1


def test_folding_is_red_on_the_grid_and_green_in_the_map_where_it_is():
    field = np.zeros((2, 48, 48))
    field[0, 12:20, :] = -2.0 * np.arange(8)[:, None]  # du/dx = -2: the determinant is -1
    image, grid, determinants = map(pixels, registered(np.zeros((48, 48)), field, 1.0, down=True))
    inside, outside = slice(14 * 6, 18 * 6), slice(32 * 6, 44 * 6)
    red = (grid[..., 0] > 0.7) & (grid[..., 1:].max(axis=2) < 0.45)
    green = (determinants[..., 1] > 0.45) & (determinants[..., 0] < 0.35) & (determinants[..., 2] < 0.35)
    for marked in (red, green):
        assert marked[:, inside].mean() > 0.1
        assert not marked[:, outside].any()
    assert image.max() < 0.05


# In a browser


@pytest.fixture(scope="module")
def file(run, block):
    path = run.path / "one.html"
    path.write_text(html_of(block), encoding="utf-8")
    return path


@pytest.fixture
def page(browser, file):
    browser.get(file.as_uri())
    return browser


def part(page, name: str):
    return page.find_element(By.CSS_SELECTOR, f"[data-part={name}]")


def choose(page, name: str, text: str) -> None:
    Select(part(page, name)).select_by_visible_text(text)


def is_shown(page, run: Run, row: pd.Series, pair: int = 0) -> None:
    """The pictures are those of the row's trial, and the numbers those of the row."""
    images = page.find_elements(By.CSS_SELECTOR, ".panel img:not(.key)")
    assert [image.get_attribute("src") for image in images] == pictures_of(run, row["trial"], pair)
    lines = [
        [cell.text for cell in line.find_elements(By.XPATH, "*")]
        for line in part(page, "numbers").find_elements(By.TAG_NAME, "tr")
    ]
    assert lines[0][0] == "MSE"
    assert [float(text) for text in lines[0][1:]] == pytest.approx([row["mse_before"], row["mse"]], rel=0.01)
    (smooth,) = [line for line in lines if line[0] == "SDlogJ"]
    assert smooth[1] == ""
    assert float(smooth[2]) == pytest.approx(row["displacement_sdlogj"], rel=0.01)
    assert images[3].get_attribute("alt").startswith("warped grid: ")


def test_the_slider_moves_through_the_lambdas_by_keys(page, run, rows):
    assert page.get_log("browser") == []
    slider = part(page, "weight")
    assert slider.accessible_name == "λ"
    assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("0", "2")
    for key, weight in ((None, 0.2), (Keys.ARROW_RIGHT, 1), (Keys.HOME, 0.02), (Keys.ARROW_RIGHT, 0.2)):
        if key:
            slider.send_keys(key)
        assert slider.get_attribute("aria-valuetext") == f"λ {weight}"
        assert part(page, "current").text == f"{weight}"
        assert part(page, "state").text == f"L1, λ {weight}, diffeomorphic model: subject-000 onto subject-001"
        is_shown(page, run, row_of(rows, 0, penalty="l1", weight=weight))


def test_another_penalty_is_shown_at_equal_smoothness(page, run, rows):
    choose(page, "name", "L2")
    part(page, "weight").send_keys(Keys.END)
    is_shown(page, run, row_of(rows, 0, penalty="l2", weight=1))
    choose(page, "name", "L1")
    is_shown(page, run, row_of(rows, 0, penalty="l1", weight=0.2))
    assert part(page, "weight").get_attribute("aria-valuetext") == "λ 0.2"
    choose(page, "name", "L2")  # the smoothness that was chosen last is remembered
    is_shown(page, run, row_of(rows, 0, penalty="l2", weight=1))


def test_the_settings_are_those_of_the_penalty(page, run, rows):
    settings = Select(part(page, "setting"))
    assert [option.text for option in settings.options] == ["diffeomorphic model"]
    choose(page, "name", "L2")
    assert [option.text for option in settings.options] == ["diffeomorphic model", "displacement model"]
    choose(page, "setting", "displacement model")
    weight = float(part(page, "current").text)
    is_shown(page, run, row_of(rows, 0, penalty="l2", weight=weight, model="displacement"))
    choose(page, "name", "L1")
    assert part(page, "state").text.startswith("L1, λ 0.2, diffeomorphic model")


def test_another_pair_has_its_own_pictures_and_numbers(page, run, rows):
    choose(page, "pair", "subject-002 onto subject-003")
    is_shown(page, run, row_of(rows, 2, penalty="l1", weight=0.2), pair=2)
    part(page, "weight").send_keys(Keys.ARROW_LEFT)
    is_shown(page, run, row_of(rows, 2, penalty="l1", weight=0.02), pair=2)


@pytest.mark.parametrize("width", [400, 1280])
def test_it_fits_its_width(width, page):
    with sized(page, width):
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        panels = page.find_elements(By.CSS_SELECTOR, ".panel")
        assert len({panel.location["y"] for panel in panels}) == (3 if width < 600 else 2)


def test_it_prints_what_is_shown_without_the_controls(page):
    choose(page, "name", "L2")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not part(page, "weight").is_displayed()
        assert not part(page, "name").is_displayed()
        assert part(page, "state").text.startswith("L2, λ ")
        assert all(panel.is_displayed() for panel in page.find_elements(By.CSS_SELECTOR, ".panel img"))
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
