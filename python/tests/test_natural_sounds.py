"""Real recordings, where a machine has them: what docs/natural-sounds.md reports, from Python."""

import os
from pathlib import Path

import numpy as np
import pytest
import stereotax as sx

DATA = Path(os.environ.get("STEREOTAX_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SOUNDS = DATA / "natsound165_fmri"

pytestmark = pytest.mark.skipif(not SOUNDS.is_dir(), reason="the recordings are not here")


@pytest.fixture(scope="module")
def fitted():
    brain = np.load(SOUNDS / "fmri_components.npz")
    bands = np.load(SOUNDS / "features_logband32.npz")["logband"]
    taps = {
        "silero": ("activations_silero_vad.npz", ["conv1", "conv2", "conv3", "conv4", "lstm"]),
        "crepe": ("activations_crepe_tiny.npz", [f"conv{i}" for i in range(1, 7)]),
    }
    made = {}
    for name, (file, layers) in taps.items():
        found = np.load(SOUNDS / file)
        made[name] = sx.NFAS(seed=7, n_bootstraps=200, n_shifts=99).fit(
            {layer: found[layer] for layer in layers},
            brain["response"],
            stimulus_ids=brain["names"],
            roi_names=brain["component_names"],
            nuisance={"log-band energy": bands},
        )
    return made


def r2(nfas, representation):
    return nfas.scores_.where(representation=representation)["r"] ** 2


def test_the_numbers_are_those_that_were_written_down(fitted):
    silero, crepe = fitted["silero"], fitted["crepe"]
    close = {"atol": 0.0051}  # two digits were written down
    np.testing.assert_allclose(r2(silero, "stable_mode"), [0.55, 0.52, 0.44, 0.17, 0.13, 0.13], **close)
    np.testing.assert_allclose(r2(silero, "layer_mean"), [0.74, 0.72, 0.59, 0.61, 0.67, 0.42], **close)
    np.testing.assert_allclose(r2(crepe, "stable_mode"), [0.48, 0.13, 0.09, 0.41, 0.17, 0.06], **close)
    np.testing.assert_allclose(r2(crepe, "layer_mean"), [0.50, 0.10, 0.10, 0.44, 0.16, 0.12], **close)
    bands = r2(crepe, "nuisance:log-band energy")
    np.testing.assert_allclose(bands, [0.50, 0.45, 0.00, 0.08, 0.05, 0.06], **close)


def test_verdicts_and_controls_are_too(fitted):
    silero, crepe = fitted["silero"], fitted["crepe"]
    assert not silero.verdict_ and crepe.verdict_
    assert {gate["reason"] for gate in silero.verdict_.reasons} == {"far_from_one", "residual"}
    assert "no stable mode" in silero.controls_["status"][0]
    row = crepe.controls_.where(control="layer_mean")[0]
    assert row["difference"] == pytest.approx(-0.014, abs=0.001)
    assert row["lower"] < 0 < row["upper"]
    shuffled = silero.summary_["mean_score"][
        [name.startswith("shuffled") for name in silero.summary_["representation"]]
    ]
    assert shuffled.min() > silero.summary_.where(representation="stable_mode")["mean_score"][0]
    space = sx.ModelSpace(n_permutations=99, n_bootstraps=50).fit(fitted, modality=["audio", "audio"])
    assert [status == "ok" for status in space.models_["status"]] == [False, True]
    assert space.controls_.where(model="crepe").drop("model", "modality") == crepe.controls_
