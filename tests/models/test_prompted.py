import torch
from torch import nn

from lightning_transfer.mappings import FirstMapping
from lightning_transfer.models import ModuleSource, PromptedModel, SourceModel
from lightning_transfer.models.prompted import SOURCE_LOGITS
from lightning_transfer.prompts import FramePrompt, PaddingPrompt

IMAGE = torch.rand(2, 3, 32, 32)


def model(prompt=None, source=None):
    source = source or SourceModel("test_resnet", pretrained=False)
    mapping = FirstMapping()
    mapping.build(source.num_classes, 4, None, None)
    if prompt is not None:
        prompt.build(32, source.statistics())
    return PromptedModel(source, prompt, mapping)


def test_without_prompt_the_source_speaks_for_itself():
    prompted = model()
    asked = prompted.source(IMAGE)
    prediction = prompted(IMAGE)
    assert torch.equal(prediction.logits, asked.logits[:, :4])
    assert torch.equal(prediction.features.layers[SOURCE_LOGITS], asked.logits)
    assert torch.equal(prediction.features.embedding, asked.features.embedding)


def test_a_prompt_of_zeros_that_is_added_is_none():
    source = SourceModel("test_resnet", pretrained=False)
    for space in ("pixel", "normalised"):
        assert torch.equal(model(FramePrompt(space=space), source)(IMAGE).logits, model(None, source)(IMAGE).logits)


def test_the_source_is_asked_once_and_stays_as_it_is():
    class Draws(nn.Module):
        num_classes = 5
        calls = 0

        def forward(self, image):
            self.calls += 1
            return nn.functional.dropout(image, 0.5, self.training).mean((2, 3)) @ torch.ones(3, 5)

    network = Draws()
    prompted = model(PaddingPrompt(3), ModuleSource(network)).train()
    assert prompted.prompt.training
    assert not network.training  # though nothing in it could be frozen
    prompted(IMAGE)
    assert network.calls == 1
    real = model(PaddingPrompt(3)).train()
    assert not any(m.training for m in real.source.modules())
    assert not any(p.requires_grad for p in real.source.parameters())


def test_finite_differences_of_three_pixels():
    torch.manual_seed(1)
    prompted = model(PaddingPrompt(4, space="normalised", init="normal")).double()
    image = IMAGE.double()
    values = prompted.prompt.values

    def loss():
        return nn.functional.cross_entropy(prompted(image).logits, torch.tensor([1, 3]))

    (gradient,) = torch.autograd.grad(loss(), values)
    for channel, pixel in ((0, 0), (1, 100), (2, 300)):
        ends = []
        with torch.no_grad():
            for step in (1e-5, -2e-5):
                values[channel, pixel] += step
                ends.append(loss().item())
            values[channel, pixel] += 1e-5
        slope = (ends[0] - ends[1]) / 2e-5
        assert abs(slope - gradient[channel, pixel].item()) < 1e-4 * gradient.abs().max().item() + 1e-9
        assert gradient[channel, pixel] != 0
