import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from typer.testing import CliRunner

import synthetic_run
from screens import sized
from smoothmorph.experiments.cli import app
from smoothmorph.experiments.outputs.study_result import archive, rebuild
from smoothmorph.experiments.outputs.tables import collect
from smoothmorph.experiments.report import write_report
from smoothmorph.experiments.report.blocks import Table
from smoothmorph.experiments.report.headings import heading
from smoothmorph.experiments.report.page import build_page, render
from smoothmorph.experiments.report.protocol import data, groups, protocol
from smoothmorph.experiments.report.provenance import environment, reproduce
from smoothmorph.experiments.report.tables import by_configuration, from_frame, significant, structures
from smoothmorph.experiments.rows.summaries import per_label, summary
from smoothmorph.experiments.store.archive import environments
from smoothmorph.experiments.store.run_folder import claim
from smoothmorph.experiments.study.study import load_study

HOSTILE = "L1 & L2 <script>document.title = 'taken'</script> \"quoted\" </style>"
AXES = {"objective.penalty": ["l1", "l2"], "objective.lambda": [0.02, 2, 10], "seed": [0, 1]}
ENVIRONMENT = {
    "packages": {"smoothmorph": "0.1.0", "torch": "2.13.0"}, "python": "3.11.7", "platform": "Linux", "device": "cpu",
    "threads": 2, "data": "c0ffee", "subjects": {"train": 14, "validation": 5, "test": 5},
    "validation_pairs": "aaaa", "test_pairs": "bbbb",
}  # fmt: skip


def make(folder: Path, study: dict | str, *overrides: str):
    """A run folder in which every trial is complete."""
    if isinstance(study, dict):
        folder.parent.mkdir(parents=True, exist_ok=True)
        file = folder.with_suffix(".yaml")
        file.write_text(yaml.safe_dump({"name": "mine", **study}))
        study = str(file)
    loaded = load_study(study, ["training.epochs=2", "pairs.test=8", *overrides])
    run = claim(folder, loaded, [trial.trial_id("data") for trial in loaded.trials])
    for trial, settings in run.trials.items():
        synthetic_run.trial(settings, run.path / trial, None, lambda progress: None)
        (run.path / trial / "environment.json").write_text(json.dumps(ENVIRONMENT))
    return run


@pytest.fixture
def undrawn(monkeypatch):
    """Use one small picture in place of all figures."""

    def draw(run, *_):
        path = run.path / "figures" / "loss_by_epoch.svg"
        path.parent.mkdir(exist_ok=True)
        path.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
        return [path]

    monkeypatch.setattr("smoothmorph.experiments.figures.draw_figures", draw)


def test_fewer_pairs_than_asked_for_are_told(tmp_path, undrawn):
    run = make(tmp_path / "run", {"axes": {"objective.lambda": [0.1, 1.0]}})
    result = rebuild(run.path)
    kept = result.rows[result.rows["moving"].isin(result.rows["moving"].unique()[:6])]
    text = Reader(render(build_page(replace(result, rows=kept)))).text
    pairs = len(kept.drop_duplicates(["moving", "fixed"]))
    assert pairs < 8
    assert text.count(f"The test subjects make {pairs} pairs, fewer than the 8 of pairs.test.") == 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run with its report and figures."""
    run = make(tmp_path_factory.mktemp("whole") / "run", {"title": HOSTILE, "question": HOSTILE, "axes": AXES})
    assert write_report(run.path) == run.path / "report.html"
    return run.path


class Reader(HTMLParser):
    """Collects the links, figures and identifiers of a page, and its text without scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.images: list[dict[str, str]] = []
        self.names: list[str] = []
        self.text = ""
        self._inside = self._around = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self._inside = tag
        self.links += [values[key] for key in ("src", "href", "srcset", "action", "data") if key in values]
        self.images += [values] if tag == "img" and self._around == "picture" else []
        self._around = values.get("class", "") if tag == "div" else self._around
        self.names += [values["id"]] if "id" in values else []

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        self.text += data if self._inside not in ("script", "style") else ""


def read(path: Path) -> Reader:
    return Reader(path.read_text(encoding="utf-8"))


def texts(table: Table) -> list[list[str]]:
    return [[f"{cell.text} {cell.small}".strip() for cell in line] for line in table.lines]


# The page


def test_nothing_is_fetched_and_a_hostile_title_is_only_text(whole):
    html = (whole / "report.html").read_text(encoding="utf-8")
    page = Reader(html)
    assert page.links
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert {link.lstrip("#") for link in page.links if link.startswith("#")} <= set(page.names)
    assert len(page.names) == len(set(page.names))
    assert not re.search(r"url\(|@import|\bfetch\(|XMLHttpRequest|https?://", html)
    assert "default-src 'none'" in html
    assert html.count("<script>") == 1
    assert page.text.count(HOSTILE) == 5  # title, heading, question, and again title and question in the study file


def test_every_figure_is_shown_once_with_words(whole):
    page = read(whole / "report.html")
    names = {path.stem for path in (whole / "figures").iterdir()}
    assert len(names) >= 7
    assert {name.removeprefix("figure-") for name in page.names if name.startswith("figure-")} == names
    assert len({image["src"] for image in page.images}) == len(page.images) == len(names)
    assert all(len(image["alt"]) > 20 for image in page.images)
    assert {image["src"][5:14] for image in page.images} == {"image/svg", "image/png"}
    assert all(image["src"].startswith("data:image/png") == ("width" in image) for image in page.images)
    assert page.images[0]["alt"].startswith("ARC: accuracy against smoothness")  # that of the answer
    assert page.images[1]["alt"].startswith("Similarity against folding")


def test_the_page_answers_what_a_reader_asks(whole):
    text = read(whole / "report.html").text
    for words in (
        "12 of 12 trials complete · 8 test pairs, 2 seeds per point · smoothmorph 0.1.0",
        "The diffeomorphic model folds in no test pair",
        "MSE + λ · penalty",
        "2 epochs of 100 steps; one pair of training subjects per step; Adam at 0.0001",
        "from the epoch with the lowest validation loss",
        "14 train, 5 validation, 5 test",
        "8, ordered, drawn once with seed 0; hash bbbb",
        "All 12 trials ran in the same environment.",
        "smoothmorph run mine.yaml",
        "standard deviation of the logarithm of the Jacobian determinant",
    ):
        assert words in text


def test_the_first_section_is_a_figure_and_at_most_four_sentences(whole):
    html = (whole / "report.html").read_text(encoding="utf-8")
    first = html[html.index('id="answer"') : html.index('id="protocol"')]
    assert first.index("<img") < first.index("<li>")
    assert 'id="figure-pareto_front"' in first
    assert (first.count("<img"), first.count("<li>")) == (1, 3)  # equal smoothness, folding, seeds
    statistics = html[html.index('id="statistics"') : html.index('id="trials"')]
    assert "Hypervolume of accuracy and smoothness over all λ: L" in statistics


def test_a_sum_of_penalties_is_one_more_penalty_of_a_study(tmp_path, undrawn):
    objective = {"similarity": "mse+gradient-mse", "weight_map": {"labels": [1], "inside": 10}}
    axes = {"objective.penalty": ["l2", "l2+2*folding"], "objective.lambda": [0.02, 2, 10]}
    run = make(tmp_path / "run", {"base": {"objective": objective}, "axes": axes})
    assert {trial.partition("_")[0] for trial in run.trials} == {"l2", "l2+folding"}
    text = read(write_report(run.path)).text
    for words in (
        "L2, L2 + 2 · Folding",
        "MSE + Gradient MSE (mean squared difference",
        "the velocity, Folding on the displacement; λ times 10 in the structures 1, times 1 elsewhere",
        "penalty L2 + 2 · Folding",
    ):
        assert words in text
    tables = run.path / "tables"
    assert set(pd.read_csv(tables / "matched.csv")["penalty"]) == {"l2", "l2+2*folding"}
    assert set(pd.read_csv(tables / "hypervolume.csv")["penalty"]) == {"l2", "l2+2*folding"}
    comparison = pd.read_csv(tables / "comparisons.csv")
    assert {*comparison["first"], *comparison["second"]} == {"l2", "l2+2*folding"}


def test_the_same_run_gives_the_same_page(tmp_path, undrawn):
    run = make(tmp_path / "run", {"axes": {"objective.penalty": ["l1", "l2"]}})
    first = write_report(run.path).read_bytes()
    assert write_report(run.path, out=tmp_path / "new" / "other.html").read_bytes() == first
    assert not list(tmp_path.rglob("*.partial"))


def test_an_archive_is_enough(whole, tmp_path):
    archive(whole, tmp_path / "kept")
    page, before = read(write_report(tmp_path / "kept")), read(whole / "report.html")
    assert len(page.images) == len(before.images)
    assert "12 of 12 trials complete" in page.text
    assert "All 12 trials ran in the same environment." in page.text


def test_what_is_missing_becomes_a_sentence(tmp_path, undrawn):
    run = make(tmp_path / "run", {"axes": {"objective.penalty": ["l1", "l2", "bending-hessian"]}})
    first, second, third = run.trials
    for file in run.path.glob("*/environment.json"):
        file.unlink()
    (run.path / first / "pairs.parquet").unlink()
    (run.path / first / "failure.json").write_text(json.dumps({"reason": "the loss is <nan> in epoch 2."}))
    (run.path / second / "pairs.parquet").unlink()
    rows = pd.read_parquet(run.path / third / "pairs.parquet")
    rows[[name for name in rows if "dice" not in name and "hd95" not in name]].to_parquet(
        run.path / third / "pairs.parquet"
    )
    (run.path / third / "history.parquet").unlink()
    result = replace(rebuild(run.path), analysis=None, figures=[])
    text = Reader(render(build_page(result))).text
    for words in (
        "1 of 3 trials complete",
        "is not included: the loss is <nan> in epoch 2.",
        "1 trial is not complete",
        "nothing that could be compared",
        "no statistics",
        "no figures",
        "no Dice",
        "not recorded",
        "environment.json of the trials was not kept",
    ):
        assert words in text


def test_a_damaged_environment_is_left_out(tmp_path):
    run = make(tmp_path / "run", {"axes": {"seed": [0, 1, 2]}})
    first, second, third = run.trials
    (run.path / first / "environment.json").write_text("{")
    (run.path / second / "environment.json").write_text("[]")
    assert list(environments(run.path, run.trials)) == [third]


# Words


def test_environments_that_differ_are_told_apart():
    other = {**ENVIRONMENT, "python": "3.12.1", "threads": 1}
    words, table = environment({"a": ENVIRONMENT, "b": other, "c": ENVIRONMENT})
    assert words == "The trials ran in 2 environments, which differ in python, threads."
    assert [column.heading for column in table.columns] == ["what", "2 trials", "1 trial"]
    assert texts(table)[0] == ["python", "3.11.7", "3.12.1"]


@pytest.mark.parametrize(
    ("study", "overrides", "command"),
    [
        ("demo", (), "smoothmorph run demo"),
        ("demo", ("training.epochs=3",), "smoothmorph run demo.yaml"),
        ("published", (), "smoothmorph run published --data-root data/neurite-oasis-2d"),
        ({"base": {"cohort": {"reader": "decathlon"}}}, (), "smoothmorph run mine.yaml --data-root DIR"),
    ],
)
def test_the_commands_reproduce_the_study(study, overrides, command, tmp_path):
    if isinstance(study, dict):
        (tmp_path / "study.yaml").write_text(yaml.safe_dump({"name": "mine", **study}))
        study = str(tmp_path / "study.yaml")
    loaded = load_study(study, overrides)
    run = claim(tmp_path / "run", loaded, [trial.trial_id("data") for trial in loaded.trials])
    commands, file = reproduce(run, {"a": ENVIRONMENT})
    assert commands.title == "In a checkout of smoothmorph 0.1.0"
    lines = commands.text.splitlines()
    assert lines[0] == "pip install -c constraints.txt -e ."
    assert lines[-2:] == [command, f"smoothmorph report runs/{loaded.name}"]
    assert ("smoothmorph data fetch neurite-oasis-2d --to data" in lines) == (loaded.name == "published")
    (tmp_path / "again.yaml").write_text(file.text)
    assert load_study(str(tmp_path / "again.yaml")).trials == loaded.trials


def test_the_protocol_in_words(tmp_path):
    run = make(
        tmp_path / "run",
        {
            "base": {
                "cohort": {"spatial_dims": 3},
                "split": {"test": None},
                "training": {
                    **{"schedule": "one-cycle", "penalty_warmup": 0.8, "precision": "bfloat16", "batch_size": 2},
                    "augment": [{"transform": "RandFlipd", "keys": ["moving", "fixed"], "prob": 0.5}],
                },
                "objective": {"similarity": "ncc", "multiplier": 2, "acts_on": "displacement"},
            },
            "groups": [
                {"name": "models", "axes": {"model.integration_steps": [0, 7]}},
                {"name": "weights", "set": {"seed": 4}, "axes": {"objective.lambda": [0.1, 0.02]}},
            ],
        },
    )
    said = dict(protocol(run))
    assert "3‑D" in said["Network"]  # with a non-breaking hyphen
    assert "327,331 parameters" in said["Network"]
    assert said["Model"].startswith("displacement: ")
    assert "; or diffeomorphic: a stationary velocity field at half resolution is integrated" in said["Model"]
    assert said["Model"].endswith("by scaling and squaring (7 steps)")
    assert said["Objective"].startswith("NCC loss")
    assert said["Objective"].endswith("λ · 2 · penalty")
    assert (said["Penalty"], said["λ"], said["Acts on"]) == ("L2", "0.01, 0.02, 0.1", "the displacement")
    assert said["Seeds"] == "0, 4"
    assert "2 pairs of training subjects per step" in said["Training"]
    assert "random augmentation of each pair: RandFlipd (keys moving fixed, prob 0.5)" in said["Training"]
    assert "λ grows from 0 over the first 80 % of the steps" in said["Training"]
    assert "bfloat16" in said["Training"]
    few = {"trial": {"subjects": {"test": 2, "validation": 3}}}
    assert dict(data(run, few))["Test pairs"].startswith("2, ordered")
    assert dict(data(run, {}))["Test pairs"].startswith("8, ordered")
    assert dict(data(run, {}))["Split"].endswith("(0.6, 0.2); seed 0; test pairs are made of validation subjects")
    assert texts(groups(run)) == [
        ["models", "2", "integration steps 0, 7", "as above"],
        ["weights", "2", "λ 0.1, 0.02", "seed 4"],
    ]


def test_the_protocol_names_the_options_of_a_reader_and_the_alignment(tmp_path):
    cohort = {"reader": "table", "file": "subjects.csv", "align": "affine", "intensity": "minmax"}
    said = dict(data(make(tmp_path / "run", {"base": {"cohort": cohort}}), {}))["Cohort"]
    assert said == (
        "subjects listed in a CSV table, 2‑D; file subjects.csv; affinely aligned by intensities; intensities: each "
        "image is scaled to 0 to 1"
    )
    assert "seed 0" in dict(data(make(tmp_path / "other", {}), {}))["Cohort"]


def test_headings_are_plain_words():
    assert heading("displacement_nonpositive_percent") == "folding, displacement (%)"
    assert heading("displacement_sdlogj") == "SDlogJ"
    assert heading("training.learning_rate") == "learning rate"
    assert heading("objective.lambda") == "λ"
    assert heading("dice_before") == "Dice, before"


# Tables


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.002382, "0.00238"), (41.523, "41.5"), (1234.5, "1234"), (0.0, "0"), (-0.5, "−0.500"),
        (0.00002, "2.00 · 10⁻⁵"), (3e7, "3.00 · 10⁷"), (float("inf"), "∞"), (float("nan"), ""),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert significant(value) == text


def test_a_column_of_like_numbers_has_one_number_of_decimals():
    frame = pd.DataFrame(
        {
            "dice": [0.70049, 0.8, np.nan], "mse": [1e-3, 1.0, 0.0], "n_pairs": [20, 3, 5], "p": [1e-9, 0.5, 0.041],
            "lambda": [0.01, 2.0, 10.0], "penalty": ["l1", "bending-pure", None], "on_front": [True, False, True],
            "model": "diffeomorphic", "unit": "mm", "empty": np.nan,
        }
    )  # fmt: skip
    table = from_frame("x", frame, "A title")
    heads = ["Dice", "MSE", "test pairs", "p", "λ", "penalty", "on the front"]
    assert [column.heading for column in table.columns] == heads
    assert [column.numeric for column in table.columns] == [True] * 5 + [False] * 2
    assert texts(table) == [
        ["0.700", "0.00100", "20", "< 0.0001", "0.01", "L1", "yes"],
        ["0.800", "1.00", "3", "0.50", "2", "Bending (pure)", "no"],
        ["", "0", "5", "0.041", "10", "", "yes"],
    ]
    assert [line[0].value for line in table.lines[:2]] == [0.70049, 0.8]  # sorted by the measured values


def test_every_line_is_rounded_to_what_its_interval_supports():
    ends = {"low": [0.65, -0.021], "high": [0.73, -0.004]}
    frame = pd.DataFrame({"mean": [0.69216, -0.0123], **ends, "effect": 0.123456})
    table = from_frame("x", frame, "A title")
    assert texts(table) == [["0.69", "0.65", "0.73", "0.123"], ["−0.012", "−0.021", "−0.004", "0.123"]]
    assert table.lines[0][0].value == 0.69216
    areas = {"auc_arc": 0.70049, "low": 0.68, "high": 0.72}
    apart = {"difference": 0.002134, "difference_low": 0.0011, "difference_high": 0.00316}
    found = texts(from_frame("x", pd.DataFrame([areas | apart])))
    assert found == [["0.700", "0.680", "0.720", "0.0021", "0.0011", "0.0032"]]


def test_the_summary_has_a_line_per_configuration_and_the_values_before(whole):
    rows = collect(whole)
    table = by_configuration("summary", summary(rows), ["dice", "tre", "displacement_sdlogj"], "Title")
    assert [column.heading for column in table.columns] == ["penalty", "λ", "Dice", "SDlogJ"]
    assert [line[:2] for line in texts(table)] == [[p, w] for p in ("L1", "L2") for w in ("0.02", "2", "10")]
    assert [cell.text for cell in table.first[0]] == ["before registration", "", "0.530", ""]
    own = rows[(rows["penalty"] == "l2") & (rows["lambda"] == 10)]
    assert table.lines[-1][2].value == pytest.approx(own["dice"].mean())
    assert re.fullmatch(r"0\.\d{3} ± 0\.\d{3}", texts(table)[-1][2])


def test_structures_have_a_line_each(whole):
    rows = collect(whole)
    table = structures(per_label(rows))
    assert [line[0].text for line in table.lines] == list(synthetic_run.LABELS)
    assert [column.heading for column in table.columns][:3] == ["structure", "before registration", "L1, λ 0.02"]
    last = rows[(rows["penalty"] == "l2") & (rows["lambda"] == 10)]
    assert table.lines[1][-1].value == pytest.approx(last[f"dice/{synthetic_run.LABELS[1]}"].mean())


# The command line


def test_the_command_prints_the_path(tmp_path, undrawn):
    run = make(tmp_path / "run", {"axes": {"objective.penalty": ["l1", "l2"]}})
    told = CliRunner().invoke(app, ["report", str(run.path)])
    assert (told.exit_code, told.stdout.splitlines()[-1]) == (0, str(run.path / "report.html"))
    other = tmp_path / "other.html"
    assert CliRunner().invoke(app, ["report", str(run.path), "--out", str(other)]).exit_code == 0
    assert other.read_bytes() == (run.path / "report.html").read_bytes()
    (run.path / "study.yaml").unlink()
    claim(run.path, run.study, list(run.trials))  # writing a report keeps the folder usable for the run


def test_mistakes_are_one_sentence(tmp_path, undrawn):
    run = make(tmp_path / "run", {"axes": {"objective.penalty": ["l1", "l2"]}})
    (tmp_path / "file").touch()
    beneath_a_file = str(tmp_path / "file" / "report.html")
    words = [(["nothing"], "there is no run"), ([str(run.path), "--out", beneath_a_file], "cannot write")]
    for arguments, sentence in words:
        told = CliRunner().invoke(app, ["report", *arguments])
        assert told.exit_code == 2
        assert sentence in told.stderr
        assert len(told.stderr.strip().splitlines()) == 1
    for file in run.path.glob("*/pairs.parquet"):
        file.unlink()
    told = CliRunner().invoke(app, ["report", str(run.path)])
    assert told.exit_code == 2
    assert "has no complete trial yet" in told.stderr


# In a browser


@pytest.fixture
def page(browser, whole):
    browser.get((whole / "report.html").as_uri())
    return browser


def test_the_page_loads_without_an_error_and_shows_every_figure(page, whole):
    assert page.get_log("browser") == []
    assert page.title == f"{' '.join(HOSTILE.split())} · smoothmorph"  # its script did not run
    widths = page.execute_script("return [...document.images].map(image => image.naturalWidth)")
    figures = page.find_elements(By.CSS_SELECTOR, ".picture img")
    assert len(figures) == len({path.stem for path in (whole / "figures").iterdir()})
    assert all(width > 100 for width in widths)
    assert page.execute_script(
        "return performance.getEntriesByType('resource').every(one => one.name.startsWith('data:'))"
    )


def column(page, table: str, place: int) -> list[str]:
    script = (
        "return [...document.querySelectorAll(`table[data-name=${arguments[0]}] tbody.lines tr`)]"
        ".filter(row => !row.hidden).map(row => row.cells[arguments[1]].textContent)"
    )
    return page.execute_script(script, table, place)


def headings(page, table: str):
    return page.find_elements(By.CSS_SELECTOR, f"table[data-name={table}] th")


def press(head) -> None:
    """The page works without a mouse."""
    head.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)


def test_a_table_sorts_numbers_as_numbers_with_empty_cells_last(page):
    heads = headings(page, "measures")
    names = [head.text.split("\n")[0] for head in heads]
    weight, before = names.index("λ"), names.index("before registration")
    heads[weight].find_element(By.TAG_NAME, "button").click()
    assert heads[weight].get_attribute("aria-sort") == "ascending"
    values = [float(text) for text in column(page, "measures", weight)]
    assert values == sorted(values)
    assert set(values) == {0.02, 2, 10}
    heads[weight].find_element(By.TAG_NAME, "button").click()
    assert heads[weight].get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column(page, "measures", weight)] == sorted(values, reverse=True)
    for _ in range(2):
        press(heads[before])
        shown = column(page, "measures", before)
        assert "" in shown
        assert shown.index("") == sum(text != "" for text in shown)
    assert [head.get_attribute("aria-sort") for head in heads].count("none") == len(heads) - 1


def test_the_values_before_registration_stay_on_top(page):
    heads = headings(page, "summary")
    names = [head.text.split("\n")[0] for head in heads]
    top = "return document.querySelector('table[data-name=summary] tbody tr').cells[0].textContent"
    orders = []
    for _ in range(2):
        press(heads[names.index("Dice")])
        assert page.execute_script(top) == "before registration"
        orders.append([float(text.split()[0]) for text in column(page, "summary", names.index("Dice"))])
    assert orders[0] == sorted(orders[0])
    assert orders[1] == sorted(orders[0], reverse=True)
    press(heads[0])
    assert column(page, "summary", 0) == ["L1"] * 3 + ["L2"] * 3


def test_a_long_table_is_filtered_by_words(page):
    field = page.find_element(By.CSS_SELECTOR, "input[data-filter=measures]")
    count = page.find_element(By.CSS_SELECTOR, "[data-count=measures]")
    everything = count.text
    field.send_keys("sdlogj L1")
    shown = list(zip(column(page, "measures", 0), column(page, "measures", 2), strict=True))
    assert shown
    assert all(penalty == "L1" and "SDlogJ" in metric for penalty, metric in shown)
    assert count.text == f"{len(shown)} of {everything}"
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.DELETE)
    assert count.text == everything
    assert f"{len(column(page, 'measures', 0))} lines" == everything


@pytest.mark.parametrize("width", [400, 1600])
def test_the_page_fits_its_width(width, page):
    with sized(page, width):
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        for table in page.find_elements(By.CSS_SELECTOR, ".box"):
            assert table.size["width"] <= width


def test_figures_stay_on_white_in_the_dark(page):
    colours = "return ['body', '.picture'].map(n => getComputedStyle(document.querySelector(n)).backgroundColor)"
    seen = []
    for scheme in ("light", "dark"):
        feature = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": feature})
        seen.append(page.execute_script(colours))
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    (light, picture), (dark, same_picture) = seen
    assert picture == same_picture == light == "rgb(255, 255, 255)"
    assert dark != light
