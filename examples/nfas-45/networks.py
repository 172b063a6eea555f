"""Build the 45 networks of models.json: with their weights, or from their configurations without any."""

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent


def models():
    """The list, as dictionaries."""
    return json.loads((HERE / "models.json").read_text(encoding="utf-8"))


def from_configuration(entry, small=False):
    """The network with random weights (none on torch's meta device), at its true size or shrunken."""
    settings = entry["config"] | (entry["small"] if small else {})
    if entry["library"] == "torchvision":
        import torchvision

        return torchvision.models.get_model(entry["build"], weights=None, **settings)
    if entry["library"] == "timm":
        import timm

        return timm.create_model(entry["build"], pretrained=False, **settings)
    import transformers

    build = entry["build"]
    if build == "WhisperEncoder":
        model = transformers.WhisperModel(transformers.WhisperConfig(**settings))
        return model.encoder
    if build == "T5Encoder":
        return transformers.T5EncoderModel(transformers.T5Config(**settings))
    config = getattr(transformers, f"{build}Config")(**settings)
    return getattr(transformers, f"{build}Model")(config)


def pretrained(entry):
    """The network with its weights, which the library fetches on first use (this asks nobody)."""
    if entry["library"] == "torchvision":
        import torchvision

        return torchvision.models.get_model(entry["build"], weights=entry["weights"]).eval()
    if entry["library"] == "timm":
        import timm

        return timm.create_model("hf-hub:" + entry["weights"], pretrained=True).eval()
    import transformers

    if entry["build"] == "WhisperEncoder":
        return transformers.WhisperModel.from_pretrained(entry["weights"]).encoder.eval()
    if entry["build"] == "T5Encoder":
        return transformers.T5EncoderModel.from_pretrained(entry["weights"]).eval()
    return getattr(transformers, entry["build"] + "Model").from_pretrained(entry["weights"]).eval()


def example_input(entry, small=False, n=1, device=None):
    """A batch of the right shape: images, waveforms, spectrograms or tokens."""
    import torch

    told = entry["input"]
    kind = told["kind"]

    def waves(*shape):  # neither constant nor the same for any two stimuli
        count = 1
        for length in shape:
            count *= length
        return torch.sin(torch.arange(count, device=device, dtype=torch.float32) * 0.37).reshape(shape)

    if kind == "image":
        side = told["small"] if small else told["size"]
        return waves(n, 3, side, side)
    if kind == "waveform":
        samples = (told["small"] if small else told["seconds"]) * told["rate_hz"]
        return {"input_values": waves(n, samples)}
    if kind == "log-mel":
        return {"input_features": waves(n, told["bands"], told["small"] if small else told["frames"])}
    if kind == "spectrogram":
        return {"input_values": waves(n, told["small"] if small else told["frames"], told["bands"])}
    length = told["small"] if small else told["length"]
    tokens = torch.arange(n * length, device=device).reshape(n, length) % 40 + 5
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
