"""Exported graphs, weights for official VoxelMorph, and the commands that write and read them."""

import io
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from official_voxelmorph import import_voxelmorph
from smoothmorph.experiments.cli import app
from smoothmorph.networks import (
    VoxelMorph,
    export_program,
    export_torchscript,
    from_official,
    load_model,
    load_official,
    save_model,
    save_official,
    to_official,
)
from smoothmorph.pipeline.models.trained_model import about, open_trained
from smoothmorph.pipeline.models.training_images import TrainingImages
from smoothmorph.pipeline.settings.schema import ADDED_LATER, TrialSettings, from_identity
from smoothmorph.transforms import InputError
from smoothmorph.transforms.basics.cached_tensors import MOST, keep

SHAPES = {2: (22, 33), 3: (16, 17, 20)}
ALIGNED = {2: (32, 48), 3: (16, 16, 32)}


@pytest.fixture(params=[(2, 0), (2, 7), (3, 0), (3, 7)], ids=lambda case: f"{case[0]}-D, {case[1]} steps")
def network(request) -> VoxelMorph:
    """A network whose field is far from the identity."""
    dims, steps = request.param
    torch.manual_seed(0)
    network = VoxelMorph(dims, integration_steps=steps)
    torch.nn.init.normal_(network.unet.convolutions[-1].weight, std=2.0)
    return network.eval()


def pair(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def displacement(network: VoxelMorph, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images[:, :1], images[:, 1:]).displacement


equal = partial(torch.testing.assert_close, rtol=0, atol=1e-5)


def test_torchscript_computes_what_the_network_does(network):
    shape = SHAPES[network.spatial_dims]
    buffer = io.BytesIO()
    torch.jit.save(export_torchscript(network, shape), buffer)
    buffer.seek(0)
    script = torch.jit.load(buffer)
    images = pair(3, 2, *shape)
    expected = displacement(network, images)
    assert float(expected.abs().mean()) > 0.2
    with torch.no_grad():
        equal(script(images), expected)
        equal(script(images[:1]), expected[:1])
    with pytest.raises(torch.jit.Error, match="this network takes images"):
        script(pair(1, 2, *(length + 16 for length in shape)))


def test_a_program_of_torch_export_computes_what_the_network_does(network):
    shape = SHAPES[network.spatial_dims]
    program = export_program(network, shape).module()
    images = pair(1, 2, *shape)
    with torch.no_grad():
        equal(program(images), displacement(network, images))
    with pytest.raises((AssertionError, RuntimeError)):
        program(pair(1, 2, *(length + 16 for length in shape)))


def test_a_shape_of_other_axes_is_refused():
    with pytest.raises(ValueError, match="2-D VoxelMorph"):
        export_program(VoxelMorph(2), (16, 16, 16))


class TestKept:
    def test_the_latest_are_kept(self):
        made = []

        @keep
        def ones(size: int) -> Tensor:
            made.append(size)
            return torch.ones(size)

        first = ones(1)
        assert ones(1) is first
        for size in range(2, MOST + 2):
            ones(size)
        assert made == list(range(1, MOST + 2))
        ones(MOST + 1)
        ones(1)
        assert made == [*range(1, MOST + 2), 1]

    @pytest.mark.parametrize("record", [partial(torch.export.export, strict=False), torch.jit.trace])
    @pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
    def test_what_belongs_to_a_graph_is_not_kept(self, record):
        @keep
        def ones(size: int) -> Tensor:
            return torch.ones(size)

        class Adding(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x + ones(3)

        record(Adding(), (torch.zeros(3),))
        assert type(ones(3)) is Tensor
        assert torch.equal(Adding()(torch.zeros(3)), torch.ones(3))

    def test_a_network_computes_the_same_after_it_was_exported_first(self):
        shape = (20, 39)  # used in no other test, so that its grid is not cached
        torch.manual_seed(0)
        network = VoxelMorph(2).eval()
        images = pair(1, 1, *shape)
        torch.export.export(network, (images, images), strict=False)
        registration = network(images, images)
        assert {type(part) for part in registration[:3]} == {Tensor}
        assert torch.isfinite(registration.displacement).all()


class TestOfficial:
    @pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")
    def test_official_voxelmorph_reads_it(self, network, tmp_path):
        vxm = import_voxelmorph()
        shape = ALIGNED[network.spatial_dims]
        save_official(tmp_path / "official.pt", network, shape)
        theirs = vxm.networks.VxmDense.load(tmp_path / "official.pt", "cpu").eval()
        images = pair(1, 2, *shape)
        expected = displacement(network, images)
        with torch.no_grad():
            _, found = theirs(images[:, :1], images[:, 1:], registration=True)
        assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5
        back = load_official(tmp_path / "official.pt")
        assert back.config == network.config
        assert all(torch.equal(a, b) for a, b in zip(back.parameters(), network.parameters(), strict=True))

    @pytest.mark.parametrize(
        ("network", "shape", "sentence"),
        [
            (lambda: VoxelMorph(2, padding_mode="border"), (32, 32), "pads with border"),
            (lambda: VoxelMorph(2, channels=(8, 16)), (32, 32), "feature widths of its own"),
            (lambda: VoxelMorph(2), (32, 30), "multiples of 16, got 32x30"),
            (lambda: VoxelMorph(2), (32, 32, 32), "takes 2 sizes"),
            (lambda: VoxelMorph(2), (-32, 32), "got -32x32"),
            (lambda: VoxelMorph(2), (0, 32), "got 0x32"),
        ],
    )
    def test_what_official_voxelmorph_does_not_have(self, network, shape, sentence, tmp_path):
        with pytest.raises(InputError, match=sentence):
            save_official(tmp_path / "official.pt", network(), shape)


class Stranger:
    """A file that only a loader that runs code could read."""


@pytest.fixture
def call(tmp_path, monkeypatch):
    """The command line in a folder with models, official weights and other files."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = VoxelMorph(2, integration_steps=5).eval()
    settings = TrialSettings()
    save_model(Path("model.safetensors"), network, about("a-trial", settings, TrainingImages((32, 48), (1.0, 1.0))))
    save_model(Path("bare.safetensors"), network)
    save_official(Path("official.pt"), network, (32, 48))
    torch.save(torch.load("official.pt", weights_only=True)["model_state"], "state.pt")
    torch.save({"model_state": Stranger()}, "stranger.pt")
    torch.save([1, 2], "list.pt")
    torch.save({"config": {"int_steps": "many", "int_downsize": 2}, "model_state": torch.load("state.pt")}, "odd.pt")
    Path("there").mkdir()
    Path("notes.txt").write_text("no model")
    Path("carded.md").write_text("a card of its own")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_from_the_command_line_to_official_and_back(call):
    assert call("export", "model.safetensors", "official", "out.pt").exit_code == 0
    done = call("import", "out.pt", "back.safetensors")
    assert (done.exit_code, done.output) == (0, "back.safetensors\n")
    back, before = open_trained(Path("back.safetensors")), load_model(Path("model.safetensors"))
    assert back.network.config == before.config
    assert back.images.shape == (32, 48)
    assert (back.trial, back.settings) == (None, None)
    assert all(torch.equal(a, b) for a, b in zip(back.network.parameters(), before.parameters(), strict=True))
    done = call("import", "state.pt", "x.safetensors", "--integration-steps", 5, "--integration-downsize", 2)
    assert done.exit_code == 0
    assert load_model(Path("x.safetensors")).config == before.config


def holders(state: dict[str, Tensor]) -> dict[str, object]:
    """Files that hold the weights of ``VxmDense`` among other things."""
    names = ("module.", "model.", "_orig_mod.", "_orig_mod.module.", "net.vxm.")
    prefixed = {prefix: {prefix + name: weight for name, weight in state.items()} for prefix in names}
    grid = {"module.transformer.grid": torch.zeros(1, 2, 32, 48)}
    config = {"int_steps": 5, "int_downsize": 2}
    lightning = {**prefixed["model."], "loss.kernel": torch.ones(3, 3)}
    return {
        **prefixed,
        "DataParallel, saved by VxmDense's own keys": {
            "config": config,
            "model_state": {**prefixed["module."], **grid},
        },
        "Lightning": {"epoch": 3, "state_dict": lightning, "optimizer_states": [{"state": {}}], "callbacks": {}},
        "a training script": {"model_state_dict": state, "optimizer_state_dict": {}, "loss": 0.5},
        "half precision": {name: weight.half().float().half() for name, weight in state.items()},
        "double precision": {name: weight.double() for name, weight in state.items()},
    }


def test_weights_within_something_else_are_the_same_weights(call):
    """Weights of a DataParallel network, of a compiled network, or saved together with a training state."""
    before = load_model(Path("model.safetensors"))
    for index, (name, content) in enumerate(holders(torch.load("state.pt", weights_only=True)).items()):
        torch.save(content, "held.pt")
        done = call("import", "held.pt", f"x{index}.safetensors", "--integration-steps", 5, "--integration-downsize", 2)
        assert done.exit_code == 0, (name, done.output)
        back, tolerance = load_model(Path(f"x{index}.safetensors")), 1e-3 if name == "half precision" else 0
        for a, b in zip(back.parameters(), before.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


BIAS = "flow.bias"


def hostile() -> dict[str, tuple[str, object, str]]:
    """Changes to a file of official VoxelMorph: the place, the new value and the expected message."""
    deep: object = 7
    for _ in range(40):
        deep = (deep, deep)
    plain = "is not a dense tensor of real floating-point numbers"
    return {
        "nested inshape": ("inshape", ((32, 48), 1), "inshape is ((32, 48), 1), expected 2 whole numbers"),
        "deeply nested inshape": ("inshape", deep, "inshape is ((((...), (...)), "),
        "negative inshape": ("inshape", (-32, 48), "inshape is (-32, 48), expected 2 whole numbers"),
        "inshape of another network": ("inshape", (32, 48, 32), "inshape is (32, 48, 32), expected 2 whole numbers"),
        "inshape as text": ("inshape", "32x48", "inshape is '32x48', expected 2 whole numbers"),
        "inshape of fractions": ("inshape", (32.5, 48), "inshape is (32.5, 48), expected 2 whole numbers"),
        "an absurd inshape": ("inshape", (1 << 40, 1 << 40), "for at most 268,435,456 voxels"),
        "a tensor as int_steps": (
            "int_steps",
            torch.tensor(7),
            "integration_steps must be a whole number from 0",
        ),
        "many int_steps": ("int_steps", 10**9, "integration_steps must be a whole number from 0"),
        "a list as int_downsize": ("int_downsize", [2], "integration_downsize 1 or 2, got 7 and [2]"),
        "an integer as a key": ("", {5: torch.zeros(2)}, "not every weight has a name"),
        "sparse": (BIAS, torch.zeros(2).to_sparse(), "cannot be read as plain weights"),
        "on meta": (BIAS, torch.zeros(2, device="meta"), "cannot be read as plain weights"),
        "quantized": (BIAS, torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8), "cannot be read as plain"),
        "complex": (BIAS, torch.zeros(2, dtype=torch.complex64), "cannot be read as plain weights"),
        "NaN": (BIAS, torch.tensor([0, torch.nan]), "weight 'flow.bias' holds numbers that are not finite"),
        "beyond float32": (BIAS, torch.tensor([0, 1e300]).double() * 1e300, "holds numbers that are not finite"),
        "whole numbers": (BIAS, torch.zeros(2).int(), f"weight 'flow.bias' {plain}"),
        "text": (BIAS, "x", f"weight 'flow.bias' {plain}"),
        "no axes": ("flow.weight", torch.tensor(0.0), "spatial_dims must be 2 or 3, got -2"),
        "a claimed shape": (BIAS, torch.zeros(1).expand(1 << 40), "has shape (1099511627776,), expected (2,)"),
        "another weight": ("x" * 9000, torch.zeros(2), "is not a weight of this network: "),
        "two networks": ("ema.flow.weight", torch.zeros(2, 16, 3, 3), "these are weights of 2 networks"),
    }


@pytest.mark.filterwarnings("ignore:torch.quantize:UserWarning")
def test_official_weights_that_no_network_has_are_one_sentence(call, recwarn):
    state = torch.load("state.pt", weights_only=True)
    for name, (where, value, words) in hostile().items():
        config = {"inshape": (32, 48), "int_steps": 7, "int_downsize": 2}
        weights = {**state, **(value if isinstance(value, dict) else {where: value})}
        torch.save({"config": {**config, where: value}, "model_state": state if where in config else weights}, "bad.pt")
        recwarn.clear()
        done = call("import", "bad.pt", "out.safetensors")
        assert done.exit_code == 2, (name, done.output)
        assert words.removesuffix(": ") in done.stderr, name
        assert done.stderr.startswith("error: bad.pt")
        assert done.stderr.count("\n") == 1
        assert len(done.stderr) < 400
        assert not list(recwarn), name
        assert not Path("out.safetensors").exists()


@pytest.mark.parametrize("kind", [torch.Tensor.to_sparse, lambda weight: weight.to("meta"), torch.complex])
def test_a_state_dictionary_in_memory_is_checked_alike(kind):
    state = to_official(VoxelMorph(2))
    state[BIAS] = kind(state[BIAS], state[BIAS]) if kind is torch.complex else kind(state[BIAS])
    with pytest.raises(InputError, match=r"weight 'flow\.bias' is not a dense tensor of real floating-point numbers"):
        from_official(state)


IMAGES = {
    "shape": [[0, 48], [-32, 48], [32], [32, 48, 8], [32.0, 48], "32x48", 32, [1 << 20, 1 << 20], [True, 48], {}],
    "spacing": [[0, 1], [-1, 1], [1], [math.nan, 1], [math.inf, 1], ["1", 1], 1, [1e-300, 1], [1e300, 1]],
    "axes": ["RRS", "RASL", "xyz", "RA", 5, ["R", "A", "S"]],
    "brightest": [0, -1, 1e300, math.nan, math.inf, "1", [1], 10**400],
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_that_no_network_knows_are_one_sentence(name, tmp_path):
    known = {"shape": [32, 48], "spacing": [1, 0.5], "axes": "LIA", "brightest": 1}
    path = tmp_path / "model.safetensors"
    for value in IMAGES[name]:
        save_model(path, small(), {"images": {**known, name: value}})
        with pytest.raises(InputError, match=rf"about\.images\.{name} is .*, expected ") as told:
            open_trained(path)
        assert len(str(told.value)) < 300 + len(str(path))
    save_model(path, small(), {"images": {**known, name: None, "later": 1}})
    assert open_trained(path).images == replace(TrainingImages((32, 48), (1, 0.5), "LIA", 1), **{name: UNKNOWN[name]})


UNKNOWN = {"shape": None, "spacing": None, "axes": "", "brightest": None}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"images": [1]}, "about.images is [1], expected a mapping"),
        ({"settings": 5}, "Input should be a valid dictionary"),
        ({"settings": {"cohort": 5}}, "cohort = 5"),
        ({"settings": {"model": [5]}}, "model = [5]"),
        ({"settings": {"cohort": {"spatial_dims": 3}}}, "about.settings are of a 3-D trial, but its network is 2-D"),
        ({"settings": {}, "trial": ["x"]}, "about.trial is ['x'], expected a trial's id"),
        ({"settings": {}, "trial": "../x"}, "about.trial is '../x', expected a trial's id"),
        ({"settings": {}, "trial": "x" * 9000}, "xxxx', expected a trial's id"),
    ],
)
def test_what_a_model_says_about_itself_is_checked(told, words, tmp_path):
    save_model(tmp_path / "model.safetensors", small(), told)
    with pytest.raises(InputError) as error:
        open_trained(tmp_path)
    assert words in str(error.value)
    assert len(str(error.value)) < 400 + len(str(tmp_path))


def small() -> VoxelMorph:
    return VoxelMorph(2, channels=(2, 2), final_channels=(2,))


def test_a_broken_network_is_not_written_for_others(tmp_path):
    network = VoxelMorph(2)
    with torch.no_grad():
        network.unet.convolutions[-1].bias.fill_(torch.nan)
    with pytest.raises(InputError, match=r"cannot be written.*weight 'flow\.bias' holds numbers that are not finite"):
        save_official(tmp_path / "out.pt", network, (32, 32))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "out"), [("official", "out.pt"), ("torchscript", "out.ts"), ("torch-export", "o.pt2")]
)
def test_an_export_onto_a_full_disk_is_one_sentence(kind, out, call):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        done = call("export", "model.safetensors", kind, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: cannot write {out}: File too large")
    assert done.stderr.count("\n") == 1
    assert not list(Path().glob(f"*{out}*"))


def test_a_network_whose_displacement_is_not_finite_is_no_graph(call):
    network = VoxelMorph(2)
    with torch.no_grad():
        for convolution in network.field.convolutions:
            convolution.weight.fill_(1e20)
    save_model(Path("huge.safetensors"), network)
    done = call("export", "huge.safetensors", "torchscript", "out.ts", "--shape", "16x16")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: the displacement by the network for two images of noise is not finite: ")
    assert not Path("out.ts").exists()


def test_graphs_from_the_command_line(call):
    network = load_model(Path("model.safetensors"))
    assert call("export", "model.safetensors", "torchscript", "out.ts").exit_code == 0
    assert call("export", "bare.safetensors", "torch-export", "out.pt2", "--shape", "16x20").exit_code == 0
    extra = {"metadata.json": "", "smoothmorph.json": ""}
    script = torch.jit.load("out.ts", _extra_files=extra)
    assert json.loads(extra["metadata.json"])["trial"] == "a-trial"
    program = torch.export.load("out.pt2", extra_files=extra)
    assert json.loads(extra["smoothmorph.json"])["shape"] == [16, 20]
    for graph, shape in ((script, (32, 48)), (program.module(), (16, 20))):
        images = pair(1, 2, *shape)
        with torch.no_grad():
            equal(graph(images), displacement(network, images))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["export", "none", "bundle", "out"], "no model at none;"),
        (["export", "there", "bundle", "out"], "the folder there holds no model.safetensors;"),
        (["export", "notes.txt", "bundle", "out"], "notes.txt is damaged or not a safetensors file"),
        (["export", "model.safetensors", "onnx", "out"], "unknown kind 'onnx'; expected bundle, model, torchscript"),
        (["export", "model.safetensors", "bundle", "there"], "there exists; choose another name"),
        (
            ["export", "model.safetensors", "bundle", "notes.txt/out"],
            "cannot write notes.txt/out: notes.txt is a file, not a folder",
        ),
        (["export", "model.safetensors", "official", "official.pt"], "official.pt exists; choose another name"),
        (["export", "bare.safetensors", "torchscript", "out.ts"], "does not state the shape of its images"),
        (["export", "model.safetensors", "torchscript", "out.ts", "--shape", "32"], "--shape 32 does not fit"),
        (["export", "model.safetensors", "torchscript", "out.ts", "--shape", "ax3"], "--shape ax3: expected numbers"),
        (["export", "model.safetensors", "torchscript", "out.ts", "--shape", "0x3"], "--shape 0x3: expected numbers"),
        (["export", "model.safetensors", "official", "out.pt", "--shape", "32x50"], "multiples of 16, got 32x50"),
        (["export", "bare.safetensors", "torchscript", "out.ts", "--shape", "9" * 99999], "--shape 9999999999"),
        (["export", "bare.safetensors", "torchscript", "out.ts", "--shape", "99999x99999"], "the limit for a network"),
        (
            ["export", "model.safetensors", "official", "out", "--authors", "me"],
            "--authors is only for a bundle or a model; leave it out for official",
        ),
        (["export", "model.safetensors", "model", "out.bin"], "out.bin has none of the endings that it can be written"),
        (["export", "model.safetensors", "torchscript", "out.png"], "out.png has none of the endings"),
        (["export", "model.safetensors", "torch-export", "out.pt"], "with: .pt2"),
        (["export", "model.safetensors", "official", "out.ts"], "with: .pt."),
        (
            ["export", "model.safetensors", "model", "carded.safetensors"],
            "the file for the model card, carded.md, exists",
        ),
        (["export", "bare.safetensors", "model", "out.safetensors"], "does not state the shape of its images"),
        (
            ["export", "model.safetensors", "model", "out.safetensors", "--shape", "16x16"],
            "was trained on images of 32x48",
        ),
        (
            ["import", "official.pt", "out.bin"],
            "out.bin has none of the endings that it can be written with: .safetensors",
        ),
        (["import", "none.pt", "out.safetensors"], "no weights at none.pt."),
        (["import", "there", "out.safetensors"], "no weights at there."),
        (["import", "notes.txt", "out.safetensors"], "notes.txt cannot be read as plain weights"),
        (
            ["import", "stranger.pt", "out.safetensors"],
            "stranger.pt cannot be read as plain weights: it is damaged, not a torch file, or holds more",
        ),
        (["import", "list.pt", "out.safetensors"], "list.pt holds no state dictionary"),
        (["import", "odd.pt", "out.safetensors"], "odd.pt: no VxmDense network can be made with these settings"),
        (["import", "official.pt", "bare.safetensors"], "bare.safetensors exists; choose another name"),
        (["import", "state.pt", "out.safetensors"], "give integration_steps and integration_downsize"),
        (
            ["import", "official.pt", "out.safetensors", "--integration-downsize", "3"],
            "integration_downsize 1 or 2, got 5 and 3",
        ),
    ],
)
def test_a_mistake_is_one_line(words, sentence, call):
    done = call(*words)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert sentence in done.stderr
    assert "weights_only" not in done.stderr
    assert not list(Path().glob("out*"))
    assert not list(Path().glob("*.partial"))


def test_a_model_takes_the_shape_that_is_not_known(call):
    assert call("export", "bare.safetensors", "model", "out.safetensors", "--shape", "16x48").exit_code == 0
    assert open_trained(Path("out.safetensors")).images.shape == (16, 48)
    assert "16x48 voxels" in Path("out.md").read_text()


def test_settings_from_an_identity_are_what_they_were_before_a_key_existed(monkeypatch):
    monkeypatch.setitem(ADDED_LATER, "training.batch_size", 3)
    default = TrialSettings()
    before = default.model_copy(update={"training": default.training.model_copy(update={"batch_size": 3})})
    assert "batch_size" not in before.identity()["training"]
    assert from_identity(before.identity(), "test") == before
    assert from_identity(default.identity(), "test") == default
