import csv
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from tiny import llama
from torch.optim import AdamW
from transformers import PreTrainedTokenizerFast

from lightning_transfer import FinetuneModule, LanguagePromptModule, Optim
from lightning_transfer.asking import Choosing, Saying
from lightning_transfer.backbones import MLPBackbone
from lightning_transfer.callbacks import PredictionWriter
from lightning_transfer.data import CsvTextData, FakeData
from lightning_transfer.demonstrations import RandomDemonstrations
from lightning_transfer.edits import FreezeBackbone, SoftPrompt
from lightning_transfer.language import LanguageModel
from lightning_transfer.penalties import L2SP

CLASSES = ["negative", "positive"]


@pytest.fixture
def reviews():
    """Twenty sentences of two classes in a file; whoever reads them can learn the word in them."""
    lines = ["text,label"] + [f"{'great' if i % 2 else 'dull'} film {i},{i % 2}" for i in range(24)]
    Path("reviews.csv").write_text("\n".join(lines))
    return CsvTextData("reviews.csv", class_names=CLASSES, batch_size=4, val_fraction=0.2, test_fraction=0.2)


@pytest.fixture
def folder():
    """A model that can be read again."""
    made = llama()
    made.model.save_pretrained("model")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made.tokenizer, eos_token="<end>", bos_token="<end>")
    tokenizer.save_pretrained("model")
    return "model"


def _trainer(**options):
    usual = {"max_epochs": 1, "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(**usual | {"enable_checkpointing": False, "accelerator": "cpu"} | options)


def _module(model=None, **options):
    asking = options.pop("asking", None) or Choosing("{text} It was {label}.", ["bad", "great"])
    return LanguagePromptModule(model or llama(), asking, 2, class_names=CLASSES, **options)


def test_asking_needs_no_training(reviews):
    (found,) = _trainer().test(_module(), reviews, verbose=False)
    assert {"test/accuracy", "test/accuracy_calibrated", "test/auroc", "test/share/positive", "test/loss"} <= {*found}
    assert found["test/share/positive"] + found["test/share/negative"] == pytest.approx(1)


def test_demonstrations_come_from_the_training_rows(reviews):
    asking = Choosing("{text} It was {label}.", ["bad", "great"], demonstrations=RandomDemonstrations(4))
    module = _module(asking=asking)
    _trainer().test(module, reviews, verbose=False)
    assert asking.pool is not None
    assert len(asking.pool.fields) == len(reviews.splits()["train"].fields)
    assert module.ask([{"text": "so so"}]).sum() == pytest.approx(1)


def test_training_all_weights_learns_the_words(reviews):
    module = _module(optim=Optim(partial(AdamW, lr=1e-3), schedule=None), penalties=[L2SP(1e-4)])
    trainer = _trainer(max_epochs=12)
    (before,) = trainer.test(module, reviews, verbose=False)
    trainer.fit(module, reviews)
    (after,) = trainer.test(module, reviews, verbose=False)
    assert after["test/loss"] < before["test/loss"]
    assert trainer.callback_metrics["test/accuracy"] == 1


def test_a_soft_prompts_checkpoint_holds_the_prompt_alone(reviews, folder):
    module = _module(LanguageModel(folder), edits=[SoftPrompt(4)], optim=Optim(partial(AdamW, lr=1e-1), schedule=None))
    trainer = _trainer(max_epochs=2)
    trainer.fit(module, reviews)
    trainer.save_checkpoint("prompt.ckpt")
    saved = torch.load("prompt.ckpt", weights_only=True)
    tensors = {name for name, value in saved["state_dict"].items() if isinstance(value, torch.Tensor)}
    assert tensors == {"model.backbone.prompt.entry"}
    loaded = LanguagePromptModule.load_from_checkpoint("prompt.ckpt")
    rows = [{"text": "a great film"}, {"text": "dull"}]
    torch.testing.assert_close(loaded.ask(rows), module.ask(rows))
    assert loaded.class_names == CLASSES


def test_a_checkpoint_of_trained_weights_needs_no_source(reviews, folder):
    module = _module(LanguageModel(folder))
    trainer = _trainer()
    trainer.fit(module, reviews)
    trainer.save_checkpoint("tuned.ckpt")
    Path(folder).rename("gone")
    loaded = LanguagePromptModule.load_from_checkpoint("tuned.ckpt")
    rows = [{"text": "a great film"}]
    torch.testing.assert_close(loaded.ask(rows), module.ask(rows))


def test_predictions_of_classes_and_of_texts(reviews):
    _trainer(callbacks=[PredictionWriter("classes.csv")]).predict(_module(), reviews)
    rows = list(csv.DictReader(Path("classes.csv").read_text().splitlines()))
    assert len(rows) == len(reviews.splits()["test"].fields)
    assert {row["class"] for row in rows} <= {*CLASSES}

    Path("pairs.csv").write_text("word,answer\n" + "\n".join(f"w{i},w{i}s" for i in range(12)))
    data = CsvTextData("pairs.csv", inputs=["word"], answer_column="answer", batch_size=4, test_fraction=0.3)
    asking = Saying("{word} => {label}", max_new_tokens=3, demonstrations=RandomDemonstrations(2), separator="\n")
    module = LanguagePromptModule(llama(), asking, task="generation")
    (found,) = _trainer().test(module, data, verbose=False)
    assert {"test/exact_match", "test/unparsed", "test/loss"} <= {*found}
    _trainer(callbacks=[PredictionWriter("texts.csv")]).predict(module, data)
    rows = list(csv.DictReader(Path("texts.csv").read_text().splitlines()))
    assert {*rows[0]} == {"path", "answer", "said"}
    assert len(rows) == len(data.splits()["test"].fields)


def test_saying_is_learned():
    Path("pairs.csv").write_text("word,answer\n" + "\n".join(f"w{i},great" for i in range(12)))
    data = CsvTextData("pairs.csv", inputs=["word"], answer_column="answer", batch_size=4, test_fraction=0.3)
    asking = Saying("{word} => {label}", max_new_tokens=3, stop=["\n"])
    module = LanguagePromptModule(
        llama(), asking, task="generation", optim=Optim(partial(AdamW, lr=3e-3), schedule=None)
    )
    trainer = _trainer(max_epochs=12)
    trainer.fit(module, data)
    (found,) = trainer.test(module, data, verbose=False)
    assert found["test/exact_match"] == 1


def test_what_does_not_go_together(reviews):
    with pytest.raises(
        ValueError, match="asking=Choosing is for classification, but the data's task is generation; take Saying"
    ):
        LanguagePromptModule(llama(), Choosing("{text}", ["a", "b"]), task="generation")
    with pytest.raises(ValueError, match="the edits froze all of the model"):
        _trainer().fit(_module(edits=[FreezeBackbone()]), reviews)
    with pytest.raises(ValueError, match=r"shows \{title\}, but a query of the data has text"):
        _trainer().test(_module(asking=Choosing("{title} {label}", ["bad", "great"])), reviews)
    with pytest.raises(ValueError, match="data=FakeData gives images"):
        _trainer().test(_module(), FakeData())
    with pytest.raises(ValueError, match="data=CsvTextData gives texts, and a FinetuneModule takes images"):
        _trainer().test(FinetuneModule(MLPBackbone([8], image_size=8), 2), reviews)
