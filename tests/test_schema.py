"""The JSON schema of study files accepts valid studies and refuses invalid ones."""

import json
import os
import subprocess
import sys
from typing import get_args

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from smoothmorph.experiments.cli import app
from smoothmorph.experiments.study.json_schema import leaves, study_schema
from smoothmorph.experiments.study.setting_keys import OTHER_KEYS, known_keys
from smoothmorph.experiments.study.study import BUILT_IN, built_in_studies, load_study
from smoothmorph.networks import PENALTIES, PenaltyEntry
from smoothmorph.pipeline.settings.base import InWords
from smoothmorph.pipeline.settings.data_sections import PairSettings
from smoothmorph.pipeline.settings.schema import TrialSettings

SCHEMA = study_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def faults(study: object) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(study)]


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", built_in_studies())
def test_a_built_in_study_fits_as_written_and_with_every_setting_written_out(name):
    assert faults(yaml.safe_load((BUILT_IN / f"{name}.yaml").read_text(encoding="utf-8"))) == []
    assert faults(yaml.safe_load(load_study(name).to_yaml(["a"]))) == []


@pytest.mark.parametrize(
    "part",
    [
        {"base": {"training": {"epoch": 1}}},
        {"base": {"training": {"epochs": 0}}},
        {"base": {"training.epoch": 1}},
        {"base": {"cohort": {"spatial_dims": 4}}},
        {"axes": {"objective.penalty": ["l3"]}},
        {"axes": {"objective.penalty": []}},
        {"axes": {"penalty": ["l2"]}},
        {"groups": [{"set": {"objective.lambda": 1}}]},
        {"groups": [{"name": "a", "axes": {"seed": [-1]}}]},
        {"epochs": 3},
    ],
)
def test_a_fault_is_found_where_the_study_is_refused(part, tmp_path):
    from smoothmorph.transforms import InputError

    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({"name": "x", **part}))
    assert faults({"name": "x", **part})
    with pytest.raises(InputError):
        load_study(str(file))


@pytest.mark.parametrize("base", [{"objective": {"lambda": 1}}, {"objective.lambda": 1}, {"objective.weight": 1}])
def test_settings_stand_nested_or_with_dots(base):
    assert faults({"name": "x", "base": base}) == []


def test_it_has_every_setting_with_a_meaning():
    known = dict(leaves())
    assert set(known) - {*OTHER_KEYS} == set(known_keys())
    assert not [key for key, leaf in known.items() if not leaf.get("description")]


def test_settings_with_words_have_them_for_each_of_their_values():
    marked = []
    for section in TrialSettings.model_fields.values():
        for name, field in getattr(section.annotation, "model_fields", {}).items():
            for words in (mark.words for mark in field.metadata if isinstance(mark, InWords)):
                marked.append(name)
                assert tuple(words) == get_args(field.annotation)
    assert {"align", "source", "padding_mode", "schedule", "selection"} <= set(marked)
    assert PairSettings(source="atlas", atlas="anna").in_words("source") == "every scan onto anna"


def test_a_penalty_of_another_package_is_in_it(monkeypatch):
    monkeypatch.setattr(PENALTIES, "_entries", dict(PENALTIES._known()))
    PENALTIES.add(PenaltyEntry(name="mine", title="Mine", meaning="a penalty of mine", target="mine:mine"))
    known = dict(leaves())
    assert "mine" in known["objective.penalty"]["anyOf"][0]["enum"]
    assert "mine" in known["refinement.penalty"]["anyOf"][0]["enum"]
    assert {"type": "null"} in known["refinement.penalty"]["anyOf"]


def test_the_command_prints_it_and_writes_it(tmp_path):
    printed = CliRunner().invoke(app, ["schema"])
    assert json.loads(printed.output) == SCHEMA
    written = CliRunner().invoke(app, ["schema", "--out", str(tmp_path / "study.schema.json")])
    assert written.exit_code == 0
    assert json.loads((tmp_path / "study.schema.json").read_text(encoding="utf-8")) == SCHEMA
    refused = CliRunner().invoke(app, ["schema", "--out", str(tmp_path / "schema.yaml")])
    assert refused.exit_code == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("re", {"register", "recommend", "report"}),
        ("run de", {"demo"}),
        ("run mi", {"mine.yaml"}),
        ("status o", {"one"}),
    ],
)
def test_a_shell_completes_commands_studies_and_runs(tmp_path, words, expected):
    (tmp_path / "mine.yaml").write_text("name: mine")
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / "runs" / "one" / "study.yaml").touch()
    asked = {"_SMOOTHMORPH_COMPLETE": "complete_bash", "COMP_WORDS": f"smoothmorph {words}"}
    asked["COMP_CWORD"] = str(len(words.split()))
    call = "import sys; sys.argv[0] = 'smoothmorph'; from smoothmorph.experiments.cli import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", call], cwd=tmp_path, env=os.environ | asked, capture_output=True, text=True
    )
    assert set(done.stdout.split()) == expected, done.stderr
