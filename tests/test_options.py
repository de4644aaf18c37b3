"""An entry of a registry can have options of its own, which are settings like all others."""

import copy
import pickle

import pytest
import yaml

from smoothmorph.networks import BACKBONES, BackboneEntry, Option
from smoothmorph.pipeline.settings.schema import TrialSettings, options_of_all, parse
from smoothmorph.pipeline.settings.vocabulary import METHODS, MethodEntry
from smoothmorph.transforms import InputError

TRUE = Option(name="deep", kind=bool, default=True, meaning="whether it is deep")
STEEP = Option(name="slope", kind=float, default=0.5, least=0, most=1, meaning="how steep it is")


def backbone(name: str, *options: Option) -> BackboneEntry:
    return BackboneEntry(name=name, title=name, meaning="a network", target="nowhere:Net", options=options)


@pytest.fixture
def registry(monkeypatch):
    """The registry of backbones, which forgets after the test."""
    len(BACKBONES)  # loads the entries of this package
    monkeypatch.setattr(BACKBONES, "_entries", dict(BACKBONES._entries))
    monkeypatch.setattr(BACKBONES, "packages", dict(BACKBONES.packages))
    return BACKBONES


def settings(**model) -> TrialSettings:
    return parse(TrialSettings, {"model": model}, "test")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "a.b"}, "not a valid name"),
        ({"name": "Depth"}, "not a valid name"),
        ({"kind": list}, "use bool, int, float or str"),
        ({"default": 2.0}, "which it does not allow"),
        ({"default": 1}, "which it does not allow"),  # not a float
        ({"default": [0.5], "many": True}, "which it does not allow"),  # a list cannot be hashed
        ({"default": (), "many": True, "fewest": 1}, "which it does not allow"),
        ({"kind": str, "among": ("a", "b"), "default": "c", "least": None, "most": None}, "which it does not allow"),
    ],
)
def test_a_careless_option_is_refused_where_it_is_written(changes, words):
    with pytest.raises(ValueError, match=words):
        Option(**{**vars(STEEP), **changes})


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (Option(name="radius", kind=int, default=2, meaning="another radius"), "differs from that of pyramid"),
        (Option(name="channels", kind=str, meaning="words"), "differs from that of"),
        (Option(name="padding_mode", kind=str, meaning="a setting"), "is another setting's name"),
        (Option(name="kind", kind=str, meaning="an attribute"), "is another setting's name"),
        (Option(name="copy", kind=str, meaning="a method of pydantic"), "is another setting's name"),
    ],
)
def test_an_option_that_is_another_setting_is_refused(registry, option, words):
    before = settings().identity()
    with pytest.raises(ValueError, match=words):
        registry.add(backbone("mine", option))
    assert "mine" not in registry
    assert settings().identity() == before


def test_a_method_that_trains_has_no_options_of_baselines():
    with pytest.raises(ValueError, match="it cannot have options"):
        MethodEntry(name="x", title="x", meaning="x", target="x:y", trains=True, options=(TRUE,))


def test_the_same_option_of_two_entries_is_one_setting(registry):
    (radius,) = (option for option in BACKBONES["pyramid"].options if option.name == "radius")
    registry.add(backbone("mine", Option(**{**vars(radius), "meaning": "how far it looks"})))
    assert settings(backbone="mine", radius=3).model.options == {"radius": 3}
    with pytest.raises(InputError, match=r"model\.radius = 9: Input should be less than or equal to 4\.$"):
        settings(backbone="mine", radius=9)


def test_its_default_reaches_the_entry_and_is_not_in_the_id(registry):
    before = settings().trial_id("data")
    registry.add(backbone("mine", TRUE, STEEP))
    mine = settings(backbone="mine")
    assert mine.model.options == {"deep": True, "slope": 0.5}
    assert mine.identity()["model"].keys().isdisjoint({"deep", "slope"})
    assert settings(backbone="mine", slope=0.5).trial_id("data") == mine.trial_id("data")
    assert settings(backbone="mine", slope=0.25).trial_id("data") != mine.trial_id("data")
    assert settings().trial_id("data") == before
    for same in (pickle.loads(pickle.dumps(mine)), copy.deepcopy(mine), mine.model_copy()):
        assert same == mine
        assert same.model.slope == 0.5


def test_files_can_be_read_without_the_package_of_an_unused_entry(registry):
    registry.add(backbone("mine", TRUE))
    registry.packages["mine"] = "another-package"
    unused, used = settings().to_yaml(), settings(backbone="mine", deep=False).to_yaml()
    assert yaml.safe_load(used)["model"]["deep"] is False
    del registry._entries["mine"]
    assert parse(TrialSettings, yaml.safe_load(unused), "test") == settings()
    with pytest.raises(InputError, match="there is no backbone 'mine'"):
        parse(TrialSettings, yaml.safe_load(used), "test")


def test_a_trial_that_is_older_than_an_entry_stays_one(registry):
    older = settings(backbone="pyramid", radius=2)
    registry.add(backbone("mine", TRUE))
    assert older.model.options == {"radius": 2}
    assert older.identity() == settings(backbone="pyramid", radius=2).identity()


def test_one_message_names_faulty_options_beside_faulty_settings():
    with pytest.raises(InputError) as told:
        settings(integration_steps=-1, radius=99, depth=1)
    assert all(f"model.{name}" in str(told.value) for name in ("integration_steps", "radius", "depth"))


def test_every_option_of_this_package_says_what_it_is():
    options = [option for section in options_of_all() for _, option in section]
    assert len(options) > 10
    for option in options:
        assert option.meaning
        assert not option.meaning.endswith(".")
    oldest = {"iterations", "grid_spacing", "bending_weight", "labels", "file"}
    assert {option.name for option in options if option.always_in_id} == oldest
    assert not [name for name, entry in METHODS.items() if entry.trains and entry.options]
