"""The networks of examples/three-modalities give the outputs that come with their weights."""

import io
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import stereotax as sx

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("STEREOTAX_DATA", ROOT.parent / "shared" / "data"))
sys.path.insert(0, str(ROOT / "examples" / "three-modalities"))

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the recordings are not here")


@pytest.fixture(scope="module")
def networks():
    import importlib.util

    path = ROOT / "examples" / "three-modalities" / "networks.py"
    spec = importlib.util.spec_from_file_location("three_networks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def images(size=224):
    from PIL import Image

    with np.load(DATA / "images92_it" / "stimuli.npz") as file:
        shown = file["images"]
    return np.stack([np.asarray(Image.fromarray(i).resize((size, size), Image.BILINEAR)) for i in shown])


def test_mobilenet_names_the_objects_and_its_taps_are_the_stored_activations(networks):
    folder = DATA / "networks" / "mobilenet_v1_075"
    model = networks.mobilenet(folder)
    x = torch.from_numpy(images().transpose(0, 3, 1, 2).astype("f4")) / 127.5 - 1
    tap = sx.tap(model)
    assert len(tap.layers) == 13
    found = tap.activations(x)
    with np.load(DATA / "images92_it" / "activations_mobilenet_v1_075.npz") as stored:
        for k, values in enumerate(found.values(), start=1):
            np.testing.assert_allclose(values, stored[f"conv_pw_{k}"], atol=1e-3)
        with torch.inference_mode():
            np.testing.assert_allclose(model(x).numpy(), stored["logits"], atol=5e-3)


def test_darknets_features_are_those_stored(networks):
    model = networks.darknet(DATA / "networks" / "darknet_tiny")
    x = torch.from_numpy(images().transpose(0, 3, 1, 2).astype("f4")) / 255
    found = sx.tap(model).activations(x)
    assert len(found) == 16
    with np.load(DATA / "images92_it" / "activations_darknet_tiny.npz") as stored:
        wide = {name: stored[name] for name in stored.files}
    agreeing = [
        any(w.shape == v.shape and np.allclose(w, v, rtol=1e-2, atol=2e-3) for w in wide.values())
        for v in found.values()
    ]
    assert sum(agreeing) >= len(wide) - 1, (sum(agreeing), list(wide))


def test_crepe_hears_sines(networks):
    model = networks.Crepe(DATA / "networks" / "crepe_tiny")
    t = np.arange(1024) / 16000
    for hertz, expected in ((110, 109.87), (220, 219.91), (440, 440.98), (880, 881.24)):
        with torch.inference_mode():
            salience = model.eval()(torch.from_numpy(np.sin(2 * np.pi * hertz * t).astype("f4"))[None])[
                0
            ].numpy()
        top = int(salience.argmax())
        bins = np.arange(max(0, top - 4), min(360, top + 5))
        cents = 20 * (salience[bins] * bins).sum() / salience[bins].sum() + 1997.3794
        assert 10 * 2 ** (cents / 1200) == pytest.approx(expected, abs=0.05)


def test_silero_hears_speech_and_its_taps_are_the_stored_activations(networks):
    with np.load(DATA / "natsound165_fmri" / "audio_16khz.npz") as file:
        sounds = torch.from_numpy(file["audio"].astype("f4") / 32768)
    model = networks.Silero(DATA / "networks" / "silero_vad_16k").eval()
    found = sx.tap(model, "layers.*").activations(sounds)
    with np.load(DATA / "natsound165_fmri" / "activations_silero_vad.npz") as stored:
        for name, values in zip(("conv1", "conv2", "conv3", "conv4", "lstm"), found.values(), strict=True):
            # The stored means treat the last, partial chunk in another way: one of 63.
            np.testing.assert_allclose(values, stored[name], atol=0.035)
        with torch.inference_mode():
            np.testing.assert_allclose(model(sounds).mean(1).numpy(), stored["prob"], atol=5e-3)


@pytest.mark.parametrize("name", ["charlstm_darwin", "charlstm_charlotte_bronte"])
def test_character_networks_are_as_surprised_as_their_reference(networks, name):
    model = networks.CharLSTM(DATA / "networks" / name).eval()
    with np.load(DATA / "networks" / name / "reference_run.npz") as reference:
        text, bits, hidden = str(reference["text"]), reference["surprisal_bits"], reference["hidden"]
    inputs = model.prepare([text])
    with torch.inference_mode():
        logs = model(**inputs)[0].log_softmax(1) / np.log(2)
    ours = -logs[torch.arange(len(text) - 1), inputs["input_ids"][0, 1:]].numpy()
    np.testing.assert_allclose(ours, bits, atol=1e-3)
    kept = sx.tap(model, "layers.*", pool="none").activations(inputs)
    np.testing.assert_allclose(np.concatenate([v[0] for v in kept.values()], axis=1), hidden, atol=1e-4)


def test_images_of_the_neurons_are_in_their_order():
    with zipfile.ZipFile(DATA / "v4_neurons_images" / "images_210325.zip") as file:
        names = sorted(n for n in file.namelist() if n.endswith(".jpg"))
        from PIL import Image

        first = Image.open(io.BytesIO(file.read(names[0])))
    assert len(names) == 640 and names[0] == "image0001.jpg" and first.size == (112, 112)
