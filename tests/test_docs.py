"""The documentation site: it builds offline without a warning, is complete, and its code runs."""

import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

import nibabel as nib
import numpy as np
import pytest
import torch
import typer.main
from filelock import FileLock

import smoothmorph.experiments
import smoothmorph.networks
import smoothmorph.pipeline
import smoothmorph.transforms
from checkout import ROOT, code_blocks, project_files
from smoothmorph.experiments.cli import app
from smoothmorph.experiments.study.setting_keys import known_keys
from smoothmorph.networks import PENALTIES, SIMILARITIES
from smoothmorph.transforms import Geometry, PhysicalField, write_field

RESULTS = sorted((ROOT / "experiments" / "results").glob("*/README.md"))
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", *RESULTS])
ROOMS = (smoothmorph.transforms, smoothmorph.networks, smoothmorph.pipeline, smoothmorph.experiments)
QUESTIONS = {  # question of a user -> page that answers it
    "which λ": "which-lambda",
    "why does my field fold, and does it matter": "why-does-my-field-fold",
    "velocity or displacement": "velocity-or-displacement",
    "how do I warp labels": "warp-labels",
    "points, and in which direction": "warp-points",
    "save the field for ANTs, ITK, Slicer": "save-the-field",
    "sizes not divisible by 16": "image-sizes",
    "affine first": "affine-first",
    "several modalities": "several-modalities",
    "masks": "masks",
    "labels in training": "labels-in-training",
    "landmarks": "landmarks",
    "one template for all": "one-template",
    "NaN in NCC": "nan-in-ncc",
    "how much memory in 3-D": "memory-in-3d",
    "on one's own data": "own-data",
    "which pretrained model": "pretrained-model",
    "invert a field": "invert-a-field",
    "compare with SyN fairly": "compare-with-syn",
    "the same numbers again": "same-numbers-again",
}
COMMON = re.compile("a|an|and|does|do|for|how|i|in|is|it|my|of|on|or|s|the|to|which|why")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("material", reason="the extra `docs` is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra `docs` is not installed")
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    with FileLock(shared / "site.lock"):  # two workers would build into the same folder
        if not (shared / "site" / "index.html").exists():
            _build(shared / "site")
    return shared / "site"


def _build(folder: Path) -> None:
    shutil.rmtree(ROOT / "build" / "docs", ignore_errors=True)  # as in a new checkout
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    offline = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | offline)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not done.stderr.strip(), done.stderr[-3000:]


class Links(HTMLParser):
    """Collects the links, the anchors and the files that a page loads."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in ("script", "img", "iframe") and "src" in values:
            self.loaded.append(values["src"])
        if tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.loaded.append(values["href"])


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Links]:
    return {page: Links(page) for page in site.rglob("*.html")}


def test_nothing_is_loaded_from_elsewhere(pages, site):
    for page, parts in pages.items():
        outside = [link for link in parts.loaded if re.match(r"(https?:)?//", link)]
        assert not outside, f"{page.relative_to(site)} loads {outside}"
    for sheet in site.rglob("*.css"):
        assert "url(http" not in sheet.read_text(encoding="utf-8"), sheet


def test_every_link_leads_to_a_file_and_a_heading(pages, site):
    lost = []
    for page, parts in pages.items():
        for link in (*parts.links, *parts.loaded):
            path, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:", link) or page.name == "404.html":
                continue
            target = (page.parent / path.partition("?")[0]).resolve() if path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                lost.append(f"{page.relative_to(site)}: {link}")
    assert len(pages) > 60
    assert not lost, "\n".join(sorted(set(lost))[:20])


def _words(text: str) -> set[str]:
    plain = re.sub(r"<[^>]+>", " ", text.lower())
    return {word.removesuffix("s") for word in re.findall(r"[^\W_]+", plain) if not COMMON.fullmatch(word)}


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_search_finds_the_page_that_answers(site, question):
    """The best pages for a question, by the words in the site's search index; words in titles count most."""
    entries = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    asked = _words(question)
    scores: dict[str, float] = {}
    for entry in entries:
        page = entry["location"].partition("#")[0]
        title, text = _words(entry["title"]), _words(entry["text"])
        score = 10 * len(asked & title) / (1 + len(title | asked)) + len(asked & text) / len(asked)
        scores[page] = max(scores.get(page, 0), score)
    best = sorted(scores, key=lambda page: -scores[page])[:3]
    assert f"questions/{QUESTIONS[question]}.html" in best, best


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    """The address of the served site; its search does not work from files."""
    handler = functools.partial(Quiet, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_page_that_answers_is_first_in_a_browsers_search(browser, address, question):
    browser.get(f"{address}/index.html?q={quote(question)}")
    links = "return [...document.querySelectorAll('.md-search-result__link')].map(link => link.href)"
    end = time.monotonic() + 10
    while not (found := browser.execute_script(links)) and time.monotonic() < end:
        time.sleep(0.1)
    assert found, "the search finds nothing"
    assert f"/questions/{QUESTIONS[question]}.html" in found[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1400])
@pytest.mark.parametrize("page", ["index", "reference/settings", "notebooks/03_explore_a_study"])
def test_no_page_is_wider_than_the_window(browser, address, page, width, scheme):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(f"{address}/index.html")
    browser.execute_script("localStorage.clear()")
    browser.get(f"{address}/{page}.html")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not [entry for entry in errors if "favicon" not in entry["message"]]


def test_there_is_a_page_for_each_question():
    there = {page.stem for page in (ROOT / "docs" / "questions").glob("*.md")} - {"index"}
    assert there == set(QUESTIONS.values())
    assert len(there) == 20


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_in_the_reference(pages, site, room):
    anchors = pages[site / "reference" / f"{room.__name__.rpartition('.')[2]}.html"].anchors
    public = getattr(room, "__all__", [])
    twins = {name for name in public if re.sub(r"(D|Dict)$", "d", name) in public and name[-1] != "d"}
    lost = [name for name in public if f"{room.__name__}.{name}" not in anchors]
    assert set(lost) <= twins, sorted(set(lost) - twins)


def test_every_setting_command_and_entry_is_in_the_reference(site):
    reference = {page.stem: page.read_text(encoding="utf-8") for page in (site / "reference").glob("*.html")}
    assert not [key for key in known_keys() if f"<code>{key}</code>" not in reference["settings"]]
    entries = [*PENALTIES, *SIMILARITIES]
    assert not [name for name in entries if f"<code>{name}</code>" not in reference["registry"]]
    commands = typer.main.get_command(app).commands
    shown = [name for name, command in commands.items() if not command.hidden and not hasattr(command, "commands")]
    assert not [name for name in shown if f'id="{name}"' not in reference["commands"]]


def test_every_column_of_the_rows_has_a_meaning(site):
    text = (site / "reference" / "rows.html").read_text(encoding="utf-8")
    lines = text.partition('id="columns-of-the-rows"')[2].partition('id="columns-of-the-tables"')[0].split("<tr>")
    cells = [re.findall(r"<td>(.*?)</td>", line, re.DOTALL) for line in lines if "<td>" in line]
    assert len(cells) > 40
    assert not [name for name, _, meaning in cells if not meaning.strip()]


# Content of the pages


def _blocks(page: Path, language: str) -> list[str]:
    return [code for found, code in code_blocks(page.read_text(encoding="utf-8")) if found == language]


def _code() -> list:
    return [
        pytest.param(code, id=f"{page.relative_to(ROOT).with_suffix('')}-{number}")
        for page in PAGES
        for number, code in enumerate(_blocks(page, "python"))
        if page.name != "README.md"
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder for the code of the pages, with the fields, the table and the runs that it reads."""
    folder = tmp_path_factory.mktemp("code")
    lines = ["id,image,label"]
    for name in ("anna", "ben"):
        (folder / "data").mkdir(exist_ok=True)
        for kind, voxels in (("t1", np.random.rand(8, 9, 10)), ("seg", np.ones((8, 9, 10)))):
            nib.save(nib.Nifti1Image(voxels.astype(np.float32), np.eye(4)), folder / "data" / f"{name}_{kind}.nii.gz")
        lines.append(f"{name},{name}_t1.nii.gz,{name}_seg.nii.gz")
    (folder / "data" / "subjects.csv").write_text("\n".join(lines))
    for name, shape in (("field.h5", (12, 10)), ("field.nii.gz", (12, 10, 8))):
        grid = Geometry(shape, np.eye(len(shape) + 1))
        write_field(folder / name, PhysicalField(torch.zeros(len(shape), *shape), grid))
    for run, source in (("mine", "regularizers"), ("demo", "regularizers")):
        (folder / "runs" / run / "tables").mkdir(parents=True)
        rows = ROOT / "experiments" / "results" / source / "tables" / "matched.csv"
        _rows(rows).to_parquet(folder / "runs" / run / "tables" / "rows.parquet")
    return folder


def _rows(table: Path):
    import pandas as pd

    return pd.read_csv(table).rename(columns={"mean": "dice"}).assign(moving="a", fixed="b")


@pytest.mark.parametrize("code", _code())
def test_its_python_runs(code, folder, monkeypatch):
    """Code that adds an entry to a registry that does not exist is skipped."""
    monkeypatch.chdir(folder)
    small = code.replace("subjects=24", "subjects=2")
    try:
        exec(compile(small, "page", "exec"), {"__name__": "page"})
    except ImportError as error:
        if not re.search("(Metric|Reader|Backbone|Method)Entry", str(error)):
            raise
        pytest.skip(f"{error}: this kind has no registry yet")


def test_every_study_in_a_page_is_a_study(tmp_path):
    from smoothmorph.experiments.study.study import load_study

    studies = [block for page in PAGES for block in _blocks(page, "yaml") if block.startswith("name:")]
    assert len(studies) >= 5
    for number, study in enumerate(studies):
        file = tmp_path / f"{number}.yaml"
        file.write_text(study, encoding="utf-8")
        assert load_study(str(file)).trials


def _shell_lines() -> list[str]:
    lines = []
    for page in PAGES:
        text = "\n".join([*_blocks(page, ""), *_blocks(page, "bash")])
        lines += [line.strip() for line in text.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("smoothmorph ")]


def test_every_command_in_a_page_has_the_options_that_it_is_given():
    root = typer.main.get_command(app)
    lines = _shell_lines()
    assert len(lines) > 50
    for line in lines:
        words = shlex.split(line.split("  #")[0], comments=True)[1:]
        command = root
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        given = {word.partition("=")[0] for word in words if re.match(r"-{1,2}[a-z]", word)}
        assert given <= known | {"--help"}, line


def test_no_page_is_left_out_of_the_site():
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [file.relative_to("docs").as_posix() for file in project_files() if file.match("docs/**/*.md")]
    assert pages
    assert not [page for page in pages if page not in listed]
