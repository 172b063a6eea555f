"""Taps of real torch, torchvision, timm and transformers models against what these say themselves."""

import multiprocessing
import time

import numpy as np
import pytest
import stereotax as sx

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")
load_file = pytest.importorskip("safetensors.numpy").load_file


def images(n=5, size=64):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_blocks_of_a_resnet_are_those_of_torchvisions_own_extractor():
    from torchvision.models.feature_extraction import create_feature_extractor

    model = torchvision.models.resnet18().eval()
    tap = sx.tap(model)
    assert tap.layers == [f"layer{i}.{j}" for i in range(1, 5) for j in range(2)]
    with torch.inference_mode():
        peer = create_feature_extractor(model, tap.layers)(images())
    for name, values in tap.activations(images()).items():
        np.testing.assert_allclose(values, peer[name].mean((2, 3)).numpy(), atol=1e-6)


def test_blocks_of_a_vision_transformer_are_those_of_timm():
    model = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=4).eval()
    kept = sx.tap(model, pool="none").activations(images())
    with torch.inference_mode():
        peer = model.forward_intermediates(
            images(), norm=False, output_fmt="NLC", intermediates_only=True, return_prefix_tokens=True
        )
    for (spatial, prefix), values in zip(peer, kept.values(), strict=True):
        np.testing.assert_allclose(values, torch.cat([prefix, spatial], dim=1).numpy(), atol=1e-5)
    token = sx.tap(model, pool="cls").activations(images())
    np.testing.assert_allclose(token["blocks.3"], kept["blocks.3"][:, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "size", "axes"),
    [
        ("swin_tiny_patch4_window7_224", 224, (1, 2)),
        ("convnext_atto", 64, (2, 3)),
        ("maxvit_pico_rw_256", 256, (2, 3)),
    ],
)
def test_channels_are_found_wherever_they_stand(name, size, axes):
    model = timm.create_model(name).eval()
    tap = sx.tap(model)
    seen = {}
    modules = dict(model.named_modules())
    for layer in tap.layers:
        modules[layer].register_forward_hook(lambda m, i, out, layer=layer: seen.update({layer: out.numpy()}))
    for layer, values in tap.activations(images(2, size)).items():
        np.testing.assert_allclose(values, seen[layer].mean(axis=axes), atol=1e-5)


def gpt2(**changed):
    config = {"n_layer": 3, "n_embd": 32, "n_head": 2, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 0}
    return transformers.GPT2Model(transformers.GPT2Config(**config | changed)).eval()


def test_the_last_block_is_before_the_final_norm_unlike_the_last_hidden_state():
    model = gpt2()
    tokens = torch.randint(0, 50, (2, 7))
    kept = sx.tap(model, pool="none").activations({"input_ids": tokens})
    with torch.inference_mode():
        states = model(input_ids=tokens, output_hidden_states=True).hidden_states
        normed = model.ln_f(torch.tensor(kept["h.2"]))
    for i in (0, 1):
        np.testing.assert_allclose(kept[f"h.{i}"], states[i + 1].numpy(), atol=1e-6)
    np.testing.assert_allclose(normed.numpy(), states[3].numpy(), atol=1e-5)
    assert np.abs(kept["h.2"] - states[3].numpy()).max() > 0.1


@pytest.mark.parametrize("pool", ["mean", "last", "cls", "max"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_sentences_have_the_rows_that_they_have_alone(pool, side):
    model = transformers.BertModel(
        transformers.BertConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=50
        )
    ).eval()
    sentences = [torch.arange(3, 9), torch.arange(10, 13)]
    tokens, mask = torch.zeros(2, 6, dtype=torch.long), torch.zeros(2, 6, dtype=torch.long)
    positions = torch.zeros(2, 6, dtype=torch.long)
    for i, sentence in enumerate(sentences):
        at = slice(0, len(sentence)) if side == "right" else slice(6 - len(sentence), 6)
        tokens[i, at], mask[i, at], positions[i, at] = sentence, 1, torch.arange(len(sentence))
    tap = sx.tap(model, pool=pool)
    together = tap.activations({"input_ids": tokens, "attention_mask": mask, "position_ids": positions})
    for i, sentence in enumerate(sentences):
        for name, alone in tap.activations({"input_ids": sentence[None]}).items():
            np.testing.assert_allclose(together[name][i], alone[0], atol=1e-5)


def test_shared_weights_are_steps_of_depth_and_recurrent_networks_give_time():
    albert = transformers.AlbertModel(
        transformers.AlbertConfig(
            hidden_size=32, embedding_size=8, num_attention_heads=2, num_hidden_layers=5,
            intermediate_size=64, vocab_size=50,
        )
    ).eval()  # fmt: skip
    tokens = torch.randint(0, 50, (2, 7))
    kept = sx.tap(albert, pool="none").activations({"input_ids": tokens})
    with torch.inference_mode():
        states = albert(input_ids=tokens, output_hidden_states=True).hidden_states
    assert [name.rpartition("@")[2] for name in kept] == list("12345")
    for values, state in zip(kept.values(), states[1:], strict=True):
        np.testing.assert_allclose(values, state.numpy(), atol=1e-6)

    for batch_first in (True, False):
        lstm = torch.nn.LSTM(4, 6, batch_first=batch_first)
        model = torch.nn.Sequential(lstm)
        series = torch.randn(3, 9, 4) if batch_first else torch.randn(9, 3, 4)
        with torch.inference_mode():
            peer = lstm(series)[0]
        if batch_first:
            kept = sx.tap(model, pool="none").activations(series)["0"]
            np.testing.assert_allclose(kept, peer.numpy(), atol=1e-6)
            last = sx.tap(model, pool="last").activations(series)["0"]
            np.testing.assert_allclose(last, peer[:, -1].numpy(), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_any_precision_comes_out_as_numbers(tmp_path, dtype):
    model = gpt2().to(dtype)
    tokens = torch.randint(0, 50, (4, 7))
    made = sx.tap(model).record(
        [{"input_ids": t} for t in tokens], tmp_path / "m.safetensors", ids=list("abcd"), batch_size=2
    )
    stored = load_file(made.file)  # the reference reader
    with torch.inference_mode():
        states = model(input_ids=tokens, output_hidden_states=True).hidden_states
    assert stored["h.0"].dtype == np.float32
    tolerance = 1e-6 if dtype in (torch.float32, torch.float64) else 0.02
    np.testing.assert_allclose(stored["h.0"], states[1].float().mean(1).numpy(), atol=tolerance)


def recorded_in_a_process(folder, stop_at):
    torch.manual_seed(0)
    tokens = torch.randint(0, 50, (40, 7))

    class Stimuli:
        def __len__(self):
            return 40

        def __getitem__(self, i):
            if i == stop_at:
                time.sleep(60)
            time.sleep(0.12)
            return {"input_ids": tokens[i]}

    return sx.tap(gpt2()).record(Stimuli(), folder / "m.safetensors", ids=range(40), batch_size=2)


def test_a_killed_recording_goes_on(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=recorded_in_a_process, args=(tmp_path, 30))
    process.start()
    progress = tmp_path / "m.safetensors.progress"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and '"rows": 0' in (
        progress.read_text() if progress.exists() else '"rows": 0'
    ):
        time.sleep(0.05)
    process.kill()
    process.join()
    made = recorded_in_a_process(tmp_path, None)
    assert 0 < made.n_resumed < 40
    whole = tmp_path / "whole"
    whole.mkdir()
    recorded_in_a_process(whole, None)
    for name, values in load_file(whole / "m.safetensors").items():
        np.testing.assert_allclose(load_file(tmp_path / "m.safetensors")[name], values, atol=1e-6)


def peak_of(connection, folder, max_memory):
    """Megabytes that recording takes beyond the model and its stimuli."""
    import resource

    model = torchvision.models.resnet50().eval()
    stimuli = torch.zeros(64, 3, 224, 224)
    with torch.inference_mode():  # what the libraries keep for themselves
        model(stimuli[:1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sx.tap(model).record(stimuli, f"{folder}/m.safetensors", ids=range(64), max_memory=max_memory)
    connection.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


@pytest.mark.parametrize("megabytes", [200, 1000])
def test_recording_stays_within_the_stated_memory(tmp_path, megabytes):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=peak_of, args=(theirs, str(tmp_path), f"{megabytes}M"))
    process.start()
    assert ours.poll(300), "the recording does not end"
    assert ours.recv() < megabytes
    process.join()


def test_pooling_costs_less_than_a_twentieth_of_the_forward_pass():
    model = torchvision.models.resnet50().eval()
    batch = images(8, 224)
    tap = sx.tap(model)

    def fastest(run):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return min(times)

    with torch.inference_mode():
        tap.activations(batch)
        plain, tapped = fastest(lambda: model(batch)), fastest(lambda: tap.activations(batch))
    assert tapped < 1.05 * plain + 0.01, (plain, tapped)
