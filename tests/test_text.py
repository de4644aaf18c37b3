"""Text: JSON with limits, files of any length, and text for screens, figures and pages."""

import io
import sys
import warnings
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from rich.console import Console

from smoothmorph.experiments.commands.common import guarded
from smoothmorph.experiments.figures.style import caption, new_figure, save, styled
from smoothmorph.experiments.report.blocks import Page, Section, Words
from smoothmorph.experiments.report.page import render
from smoothmorph.experiments.run.executors import Event
from smoothmorph.experiments.run.jobs import Job, attempt_quietly
from smoothmorph.experiments.run.progress import Board, following
from smoothmorph.pipeline.files.text import parse_json, read_json, read_text, write_text
from smoothmorph.pipeline.settings.schema import TrialSettings
from smoothmorph.pipeline.trial import TrialProgress
from smoothmorph.transforms.basics.errors import InputError, one_line, printable, printable_lines, quoted


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (5000 * '{"a":', "more than 50 levels"),
        (51 * "[" + 51 * "]", "more than 50 levels"),
        ("[NaN]", "'NaN' is not a finite number"),
        ("[-Infinity]", "'-Infinity' is not a finite number"),
        ("[1e999]", "'1e999' is not a finite number"),
        (100_000 * "1", "a number has 100000 digits, at most 400 are allowed"),
        ("0." + 1000 * "1", "is not a finite number"),
        ('{"a": 1, "a": 2}', "key 'a' is given twice"),
        ('"\\ud800"', r"the text '\ud800' holds a character that is not allowed in text"),
        ('{"a\\u0000": 1}', r"the text 'a\x00' holds a character"),
        ('["a\nb"]', "Invalid control character"),
        ("", "Expecting value"),
    ],
)
def test_json_that_is_refused_in_a_sentence(text, sentence):
    with pytest.raises(InputError, match=r"^here is not valid JSON: [^\n]*\.$") as error:
        parse_json(text, "here")
    assert sentence in str(error.value)
    assert len(str(error.value)) < 500


def test_json_within_bounds_is_read_as_it_is(tmp_path):
    text = '{"a": [1, -2.5e-3, true, null, "\\u03bb"], "b": ' + 49 * "[" + 49 * "]" + "}"
    (tmp_path / "a.json").write_text("\ufeff" + text)
    assert read_json(tmp_path / "a.json")["a"] == [1, -0.0025, True, None, "λ"]


def test_a_text_longer_than_its_bound_is_not_read(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * (1 << 20))
    assert len(read_text(tmp_path / "a", 1 << 20)) == 1 << 20
    with pytest.raises(InputError, match=r"a is longer than 0 MiB, the limit for such a file\."):
        read_text(tmp_path / "a", (1 << 20) - 1)
    with pytest.raises(InputError, match=r"zero is longer than 64 MiB"):
        read_text(type(tmp_path)("/dev/zero"))


def test_a_path_with_nul_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"cannot read '.*a\\x00b': embedded null"):
        read_text(tmp_path / "a\0b")


def test_a_name_that_is_no_utf8_is_not_written(tmp_path):
    with pytest.raises(InputError, match=r"cannot write .*a\.csv: 'sub-\\udcff' is not UTF-8; rename the file"):
        write_text(tmp_path / "a.csv", "sub-\udcff")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("λ ≥ 0, naïve 日本 e\u0301 🧠", "λ ≥ 0, naïve 日本 e\u0301 🧠"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x9b1m\x7f", "\\x9b1m\\x7f"),
        ("\u202eabc\u2066", "\\u202eabc\\u2066"),
        ("a\u2028b\ud800", "a\\u2028b\\ud800"),
        ("C:\\new", "C:\\new"),
    ],
)
def test_what_would_move_a_cursor_is_written_out(text, shown):
    assert printable(text) == shown
    assert one_line(ValueError(f"x{text}y".replace("\r\n", ""))).isprintable()


def test_lines_stay_lines_where_they_are_the_texts_own():
    assert printable_lines("a\nb\x1b") == "a\nb\\x1b"


def test_what_is_quoted_is_short():
    for value in ("x" * 10**6, ["x" * 10**6] * 10**4, {"a" * 10**6: 1}, 10**399, [[[[[[[[1]]]]]]]]):
        assert len(quoted(value)) < 2000
    assert quoted([160, "a", None]) == "[160, 'a', None]"


def test_a_trial_that_prints_half_a_pair_of_surrogates_keeps_its_log(tmp_path):
    def task(settings, folder, root, report):
        print("a\udcff")
        raise InputError("cannot read a\udcff\x1b: no such file.")

    event = attempt_quietly(task, Job("t", TrialSettings(), tmp_path / "t", None), lambda progress: None)
    assert (event.kind, event.reason) == ("failed", "cannot read a\\udcff\\x1b: no such file.")
    assert read_json(tmp_path / "t" / "failure.json") == {"reason": event.reason}
    assert "a\\udcff\n" in (tmp_path / "t" / "log.txt").read_text()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_board_shows_messages_as_they_are(terminal):
    screen = io.StringIO()
    console = Console(file=screen, width=120, force_terminal=terminal, color_system=None, legacy_windows=False)
    with Board(console, {"t": "t"}, 1, 0) as board:
        board.show(Event("t", "started"))
        board.show(Event("t", "progress", "", TrialProgress("training", 1, 2, "[/x]\x1b]0;\a")))
        board._progress.refresh()
        board.show(Event("t", "failed", "[/y]\x1b]0;\a"))
    with following(console) as tell:
        tell("[/z]", 1, 2)
    assert "[/z]" in screen.getvalue() or not terminal
    assert "training: [/x]\\x1b]0;\\x07" in screen.getvalue()
    assert "t  failed: [/y]\\x1b]0;\\x07" in screen.getvalue()
    assert "\x1b]" not in screen.getvalue()


@pytest.mark.parametrize("title", ["costs $5 or $\\frac{", "a\udcff\x1b", "[/x] <b>&"])
def test_a_figure_is_drawn_whatever_its_title_is(title, tmp_path):
    with styled():
        figure = new_figure(3, 2, title)
        axes = figure.subplots()
        axes.set_title("$\\frac{")
        axes.plot([1, 2, 3], label="$\\frac{")
        axes.set_xscale("log")
        axes.set_yticks([1, 2], ["$\\frac{", "b"])
        axes.legend()
        caption(figure, title)
        png, svg = save(figure, tmp_path, "a")
    assert png.stat().st_size > 1000
    assert "&lt;b&gt;" in svg.read_text() or "<b>" not in title
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert any(matplotlib.cbook.is_math_text(tick) for tick in ticks)
    assert all(label.get_parse_math() for label in axes.get_xticklabels())
    assert np.isfinite(figure.get_size_inches()).all()


@pytest.mark.parametrize("name", ["=1+1\x1b[2J", "a\x9b1m\u202e", "a\x00b", "$\\frac{$"])
def test_a_name_in_a_figure_leaves_its_svg_well_formed(name, tmp_path, recwarn):
    with styled():
        figure = new_figure(3, 2, "t")
        axes = figure.subplots()
        axes.plot([1, 2], label=name)
        axes.set_yticks([1, 2], [name, "b\nc"])
        axes.set_title(f"{name}\nsecond line")
        axes.legend()
        _, svg = save(figure, tmp_path, "a")
    ElementTree.parse(svg)
    assert [label.get_text() for label in axes.get_yticklabels()] == [printable(name), "b\nc"]
    assert axes.get_title() == f"{printable(name)}\nsecond line"
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_a_warning_moves_no_cursor(capfd, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # pytest captures warnings
        monkeypatch.setattr(warnings, "showwarning", lambda message, *_: print(message, file=sys.stderr))
        guarded(lambda: warnings.warn("Glyph \x1b[2J", stacklevel=1))()
    told = capfd.readouterr().err
    assert "Glyph \\x1b[2J" in told
    assert "\x1b" not in told


def test_a_page_holds_text_as_text():
    hostile = "<script>alert(1)</script>\x1b\ud800"
    page = Page(hostile, hostile, "", [Section("a", hostile, [Words([hostile])])])
    html = render(page)
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;\\x1b\\ud800") >= 4
