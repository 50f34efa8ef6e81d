from pathlib import Path

import pytest
import torch

from lightning_transfer import TransferModule, VisualPromptModule
from lightning_transfer.callbacks import AdapterCheckpoint
from lightning_transfer.data import FakeData
from lightning_transfer.mappings import FirstMapping, FixedTextMapping, TextMapping
from lightning_transfer.models import ZeroShotSource
from lightning_transfer.prompts import PaddingPrompt

NAMES = [f"class {k}" for k in range(4)]
TEMPLATES = ["a photo of a {}.", "the {}", "{} in a drawing"]
IMAGE = torch.rand(3, 3, 32, 32)


def module(known, mapping, **options):
    source = ZeroShotSource(known, TEMPLATES)
    return VisualPromptModule(source, PaddingPrompt(4), 4, mapping, class_names=NAMES, image_size=32, **options)


def test_its_classes_are_texts_those_of_a_word_side_by_side(image_text):
    known = image_text()
    source = ZeroShotSource(known, TEMPLATES, ["cat", "dog"])
    assert source.num_classes == 6
    assert source.class_names[:3] == ["a photo of a cat.", "the cat", "cat in a drawing"]
    expected = 10 * known.encode_image(IMAGE) @ known.encode_text(source.class_names).T
    torch.testing.assert_close(source(IMAGE).logits, expected)
    assert source.statistics()[0].shape == (3, 1, 1)


def test_a_prompt_in_front_of_an_image_text_model(trainer, pairs):
    made = module(pairs, TextMapping())
    before = {name: value.clone() for name, value in made.model.source.state_dict().items()}
    run = trainer(max_epochs=2, callbacks=[AdapterCheckpoint("adapter.safetensors")])
    run.fit(made, FakeData(image_size=32, num_workers=0))
    run.save_checkpoint("x.ckpt")
    assert made.model.prompt.values.any()
    assert made.model.mapping.fitted
    after = made.model.source.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    with torch.no_grad():
        asked = made.eval()(IMAGE).features.layers["source_logits"]
    chosen = torch.arange(4) * 3 + made.model.mapping.chosen
    assert torch.equal(made(IMAGE).logits, asked[:, chosen])
    Path(pairs).unlink()
    again = TransferModule.load_from_checkpoint("x.ckpt").eval()
    assert torch.equal(again(IMAGE).logits, made(IMAGE).logits)


def test_given_words_need_no_names(image_text):
    source = ZeroShotSource(image_text(), ["a {}"], ["cat", "dog", "bee"])
    made = VisualPromptModule(source, None, 3, FirstMapping())
    assert made(IMAGE).logits.shape == (3, 3)
    again = VisualPromptModule(source, None, 3, FixedTextMapping())
    assert torch.equal(made(IMAGE).logits, again(IMAGE).logits)


def test_refuses(image_text):
    with pytest.raises(ValueError, match="speaks of the target classes, but they have no names"):
        VisualPromptModule(ZeroShotSource(image_text()), None, 3, TextMapping())
    with pytest.raises(ValueError, match="words: 'cat' names two classes"):
        ZeroShotSource(image_text(), words=["cat", "cat"])
