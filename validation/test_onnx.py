"""Networks of the shared data, rebuilt as ONNX: `stereotax extract` beside ONNX Runtime and the READMEs."""

import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
import onnx  # noqa: E402
import onnx_networks  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not (DATA / "networks").is_dir(), reason="needs the shared data")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    return {name: onnx_networks.write(name, DATA / "networks", folder) for name in onnx_networks.NETWORKS}


def extract(network, stimuli, out, **settings):
    command = [sys.executable, "-m", "stereotax", "extract", str(network), "--stimuli", str(stimuli)]
    command += ["--out", str(out), "--json"]
    for key, value in settings.items():
        command += [f"--{key}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return load_file(out), [layer["name"] for layer in found["layers"]]


def by_onnxruntime(path, taps, inputs):
    model = onnx.load(path)
    del model.graph.output[:]
    for tap in taps:
        model.graph.output.append(onnx.ValueInfoProto(name=tap))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(taps, session.run(taps, inputs), strict=True))


def close(ours, theirs):
    """Within 3e-4 of the largest value of the layer: two orders of 32-bit sums, 27 layers deep."""
    scale = np.abs(theirs).max()
    return np.abs(ours - theirs).max() <= 3e-4 * scale


def write_pictures(folder, n):
    with np.load(DATA / "images92_it" / "stimuli.npz") as archive:
        pixels = max((archive[key] for key in archive.files), key=lambda array: array.size)
    for i, picture in enumerate(pixels[:n]):
        Image.fromarray(picture).save(folder / f"{i:02}.png")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Eight of the 92 images."""
    return write_pictures(tmp_path_factory.mktemp("pictures"), 8)


def as_tensor(folder, mean, std):
    arrays = []
    for file in sorted(folder.iterdir()):
        picture = Image.open(file).convert("RGB").resize((224, 224), Image.BILINEAR)
        arrays.append((np.asarray(picture, dtype="f8") / 255 - mean) / std)
    return np.stack(arrays).transpose(0, 3, 1, 2).astype("f4")


@pytest.mark.parametrize("engine", ["rten", "onnxruntime"])
@pytest.mark.parametrize(
    ("name", "mean", "std", "n"), [("mobilenet_v1_075", 0.5, 0.5, 14), ("darknet_tiny", 0, 1, 15)]
)
def test_vision_networks_give_what_onnxruntime_gives(
    networks, pictures, tmp_path, name, mean, std, n, engine
):
    out = tmp_path / "a.safetensors"
    found, layers = extract(networks[name], pictures, out, pooling="keep", batch=3, engine=engine)
    assert len(layers) == n
    expected = by_onnxruntime(networks[name], layers, {"image": as_tensor(pictures, mean, std)})
    for layer in layers:
        theirs = expected[layer].reshape(*expected[layer].shape[:2], -1).transpose(0, 2, 1)
        assert close(found[layer], theirs), layer


@pytest.mark.parametrize("name", ["mobilenet_v1_075", "darknet_tiny"])
def test_vision_networks_give_the_activations_of_the_shared_data(networks, tmp_path, name):
    """Made elsewhere, in numpy: the mean over places of every block."""
    write_pictures(tmp_path, 92)
    pictures = tmp_path / "table.csv"
    pictures.write_text("stimulus_id,file\n" + "".join(f"{i},{i:02}.png\n" for i in range(92)))
    found, layers = extract(networks[name], pictures, tmp_path / "a.safetensors")
    with np.load(DATA / "images92_it" / f"activations_{name}.npz") as archive:
        assert set(layers) <= set(archive.files)
        for layer in layers:
            assert np.abs(found[layer] - archive[layer]).max() <= 1e-3 * np.abs(archive[layer]).max(), layer


def test_mobilenet_names_the_pictures_as_its_readme_says(networks, tmp_path):
    folder = DATA / "networks" / "mobilenet_v1_075"
    (reference,) = json.loads((folder / "reference_outputs.json").read_text()).values()
    labels = json.loads((folder / "imagenet_labels.json").read_text())
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    write_pictures(pictures, 92)
    network = networks["mobilenet_v1_075"]
    found, _ = extract(network, pictures, tmp_path / "a.safetensors", layers="probabilities")
    assert len(found["probabilities"]) == len(reference) == 92
    for i, row in enumerate(found["probabilities"]):
        label, probability = reference[str(i)]
        assert labels[row.argmax()].startswith(label)
        assert row.max() == pytest.approx(probability, abs=2e-4)


def write_wav(path, samples, rate=16000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes())


def test_crepe_hears_the_pitch_of_its_readme(networks, tmp_path):
    folder = tmp_path / "tones"
    folder.mkdir()
    tones = {110: 109.87, 220: 219.91, 440: 440.98, 880: 881.24}
    for hz in tones:
        write_wav(folder / f"{hz:04}.wav", 0.8 * np.sin(2 * np.pi * hz * np.arange(1024) / 16000))
    found, _ = extract(networks["crepe_tiny"], folder, tmp_path / "a.safetensors", layers="pitch")
    for row, expected in zip(found["pitch"], tones.values(), strict=True):
        peak = int(row.argmax())
        bins = np.arange(max(peak - 4, 0), min(peak + 5, 360))
        cents = np.average(20 * bins + 1997.3794, weights=row[bins])
        assert 10 * 2 ** (cents / 1200) == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize("engine", ["rten", "onnxruntime"])
def test_silero_carries_its_state_as_onnxruntime_does(networks, tmp_path, engine):
    rng = np.random.default_rng(5)
    samples = 0.1 * rng.normal(size=16000) * np.sin(np.arange(16000) / 900) ** 2
    folder = tmp_path / "sounds"
    folder.mkdir()
    write_wav(folder / "a.wav", samples)
    settings = {"layers": "hidden,speech", "pooling": "keep", "engine": engine}
    found, _ = extract(networks["silero_vad_16k"], folder, tmp_path / "a.safetensors", **settings)
    with wave.open(str(folder / "a.wav")) as file:
        read = np.frombuffer(file.readframes(16000), "<i2") / 32768
    padded = np.concatenate([np.zeros(64), read, np.zeros(1024)]).astype("f4")
    session = ort.InferenceSession(networks["silero_vad_16k"], providers=["CPUExecutionProvider"])
    h = c = np.zeros((1, 1, 128), "f4")
    for k in range(found["speech"].shape[1]):
        chunk = padded[None, k * 512 : k * 512 + 576]
        speech, h, c = session.run(["speech", "h_next", "c_next"], {"chunk": chunk, "h": h, "c": c})
        assert found["speech"][0, k, 0] == pytest.approx(float(speech[0, 0]), abs=1e-4)
        assert close(found["hidden"][0, k], h[0, 0])


@pytest.mark.parametrize("engine", ["rten", "onnxruntime"])
@pytest.mark.parametrize("name", ["charlstm_charlotte_bronte", "charlstm_darwin"])
def test_character_networks_run_their_reference_sentence(networks, tmp_path, name, engine):
    with np.load(DATA / "networks" / name / "reference_run.npz") as archive:
        reference = {key: archive[key] for key in archive.files}
    text = str(reference["text"])
    table = tmp_path / "texts.csv"
    table.write_text(f'stimulus_id,text\na,"{text}"\n')
    settings = {"layers": "cell_0,cell_1,probabilities", "pooling": "keep", "engine": engine}
    found, _ = extract(networks[name], table, tmp_path / "a.safetensors", **settings)
    vocabulary = json.loads((DATA / "networks" / name / "vocabulary.json").read_text())
    numbers = [vocabulary[character] for character in text]
    p = found["probabilities"][0][np.arange(len(numbers) - 1), numbers[1:]]
    surprisal = -np.log2(p)
    assert np.allclose(surprisal, reference["surprisal_bits"], atol=2e-3)
    hidden = np.concatenate([found["cell_0"][0], found["cell_1"][0]], axis=1)
    assert np.abs(hidden - reference["hidden"]).max() < 1e-4
    expected = {"charlstm_charlotte_bronte": 1.923, "charlstm_darwin": 2.761}[name]
    assert surprisal[5:].mean() == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("engine", ["rten", "onnxruntime"])
def test_weights_beside_the_network_give_the_same_bytes(networks, pictures, tmp_path, engine):
    """The file of weights is written by the onnx package."""
    name = "darknet_tiny"
    outside = tmp_path / "outside.onnx"
    beside = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save_model(onnx.load(networks[name]), outside, **beside)
    assert outside.stat().st_size < 1e-2 * (tmp_path / "weights.bin").stat().st_size
    outside.with_suffix(".toml").write_text(networks[name].with_suffix(".toml").read_text())
    inside, _ = extract(networks[name], pictures, tmp_path / "a.safetensors", engine=engine)
    found, layers = extract(outside, pictures, tmp_path / "b.safetensors", engine=engine)
    assert layers and all(np.array_equal(found[layer], inside[layer]) for layer in layers)
