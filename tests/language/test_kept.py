from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from tiny import llama
from torch.optim import Adam
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection
from transformers import PreTrainedTokenizerFast

from lightning_transfer import Optim, TransferModule
from lightning_transfer.adapter_file import load_adapter
from lightning_transfer.callbacks import EMA, AdapterCheckpoint
from lightning_transfer.checkpoint import read_checkpoint, weights_from_checkpoint
from lightning_transfer.commands.merge import merge
from lightning_transfer.contracts import ModelEdit, StepOutput
from lightning_transfer.edits import LoRA, PrefixTuning, PTuning, SoftPrompt, StartFrom
from lightning_transfer.language import LanguageModel
from lightning_transfer.language.kept import leave_out_frozen, restore_frozen

PLACE = "model.backbone."


class Asked(torch.nn.Module):
    """A model with nothing but a language model."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone


class Asking(TransferModule):
    """Teaches a language model one word."""

    def __init__(self, backbone: LanguageModel, edits: list[ModelEdit] | None = None):
        optim = Optim(partial(Adam, lr=0.03), schedule=None)
        super().__init__(2, None, None, "classification", optim, MetricCollection([]), False, False)
        self.model = Asked(backbone)
        for edit in edits or []:
            edit(self.model)

    def _check(self, batch):
        pass

    def _count(self, batch):
        return float(len(batch))

    def step(self, batch):
        logits = self.scores(batch)
        return StepOutput(-logits[:, -1].log_softmax(-1)[:, 7].mean(), {})

    def scores(self, batch):
        backbone = self.model.backbone
        return backbone.read(batch, torch.full((len(batch),), batch.shape[1]), backbone.begin())[0]

    def on_save_checkpoint(self, checkpoint):
        super().on_save_checkpoint(checkpoint)
        leave_out_frozen(checkpoint, self)

    def on_load_checkpoint(self, checkpoint):
        restore_frozen(checkpoint, self)


BATCH = torch.arange(4, 20).view(2, 8)
BATCHES = DataLoader([BATCH] * 2, batch_size=None)


def save(backbone, folder):
    backbone.model.save_pretrained(folder)
    made = PreTrainedTokenizerFast(tokenizer_object=backbone.tokenizer, eos_token="<end>", bos_token="<end>")
    made.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_TRANSFER_TRUST", __name__.partition(".")[0])
    return save(llama(), tmp_path / "source")


@pytest.fixture
def fitted(source, trainer, tmp_path):
    """Trains a module with edits, and gives it with the path of its checkpoint."""

    def fit(*edits, callbacks=(), epochs=1, backbone=None):
        module = Asking(backbone or LanguageModel(source), list(edits))
        run = trainer(max_epochs=epochs, callbacks=list(callbacks))
        run.fit(module, BATCHES)
        run.save_checkpoint(tmp_path / "run.ckpt")
        return module, str(tmp_path / "run.ckpt")

    return fit


def held(path):
    return {name.removeprefix(PLACE) for name in read_checkpoint(path)["state_dict"]}


@pytest.mark.parametrize(
    ("edit", "names"),
    [
        (SoftPrompt(3), {"prompt.entry"}),
        (SoftPrompt(text="A great film."), {"prompt.entry"}),
        (PrefixTuning(3), {"prompt.key", "prompt.value", "prompt.gate"}),
    ],
)
def test_a_checkpoint_holds_the_prompt_alone_and_loads(fitted, edit, names):
    module, path = fitted(edit)
    assert held(path) == names
    loaded = TransferModule.load_from_checkpoint(path).eval()
    assert torch.equal(loaded.scores(BATCH), module.eval().scores(BATCH))
    assert loaded.model.backbone.encode(["It was"]) == module.model.backbone.encode(["It was"])


def test_a_checkpoint_of_an_unbuilt_tokenizer_loads(fitted):
    """Where architecture and tokenizer are a checkpoint's, the text's tokens are counted by what is loaded."""
    module, path = fitted(SoftPrompt(text="A great film."))
    checkpoint = read_checkpoint(path)
    with weights_from_checkpoint():
        backbone = LanguageModel(**module.model.backbone.init_args)
        assert backbone.tokenizer is None
        loaded = Asking(backbone, [SoftPrompt(text="A great film.")]).eval()
    loaded.on_load_checkpoint(checkpoint)
    loaded.load_state_dict(checkpoint["state_dict"])
    assert torch.equal(loaded.scores(BATCH), module.eval().scores(BATCH))


def test_what_was_trained_or_moved_is_kept(source):
    pytest.importorskip("peft")
    module = Asking(LanguageModel(source), [LoRA(rank=2, targets="q_proj")])
    with torch.no_grad():
        module.model.backbone.model.model.norm.weight[0] += 1
    checkpoint = {"state_dict": module.state_dict()}
    leave_out_frozen(checkpoint, module)
    kinds = {name.rpartition("layers.")[2].partition(".lora_")[0] for name in checkpoint["state_dict"]}
    assert kinds == {"model.backbone.model.model.norm.weight", "0.self_attn.q_proj", "1.self_attn.q_proj"}
    twin = Asking(LanguageModel(source), [LoRA(rank=2, targets="q_proj")])
    restore_frozen(checkpoint, twin)
    twin.load_state_dict(checkpoint["state_dict"])
    assert torch.equal(twin.scores(BATCH), module.scores(BATCH))


@pytest.mark.parametrize("edits", [[], [SoftPrompt(3)]])
def test_models_without_a_source_or_all_of_which_trains_are_kept_whole(fitted, edits):
    module, path = fitted(*edits, backbone=llama() if edits else None)
    assert held(path) == {name.removeprefix(PLACE) for name in module.state_dict()}


def test_another_source_gets_a_sentence(fitted, source):
    _, path = fitted(SoftPrompt(3))
    save(llama(seed=1), source)
    with pytest.raises(
        ValueError, match=r"without the frozen weights of the language model .*source', and those of .* are others now"
    ):
        TransferModule.load_from_checkpoint(path)
    with pytest.raises(ValueError, match="are others now"):
        TransferModule.load_from_checkpoint(path, backbone=LanguageModel(source))


def test_a_source_that_is_gone_gets_a_sentence_and_one_that_moved_is_given(fitted, source, tmp_path):
    module, path = fitted(SoftPrompt(3))
    (tmp_path / "source").rename(tmp_path / "moved")
    checkpoint = read_checkpoint(path)
    with weights_from_checkpoint():
        built = Asking(LanguageModel(**module.model.backbone.init_args), [SoftPrompt(3)])
    with pytest.raises(ValueError, match="cannot be read again: name=.*source' cannot be had"):
        built.on_load_checkpoint(checkpoint)
    loaded = TransferModule.load_from_checkpoint(path, backbone=LanguageModel(str(tmp_path / "moved"))).eval()
    assert torch.equal(loaded.scores(BATCH), module.eval().scores(BATCH))


def test_a_whole_checkpoint_of_a_source_that_is_gone_stays_whole(fitted, source, tmp_path):
    module, _ = fitted()
    (tmp_path / "source").rename(tmp_path / "moved")
    module.requires_grad_(False)
    checkpoint = {"state_dict": module.state_dict()}
    leave_out_frozen(checkpoint, module)
    assert checkpoint["state_dict"].keys() == module.state_dict().keys()
    assert "left_out" not in checkpoint
    restore_frozen(checkpoint, module)  # and there is nothing to be put back


class SaveHalf(Callback):
    """Writes a checkpoint after the first of two epochs."""

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 0:
            trainer.save_checkpoint("half.ckpt", weights_only=False)


@pytest.mark.parametrize("average", [False, True])
def test_a_resumed_training_equals_one_without_a_break(source, trainer, average):
    def run(**resume):
        torch.manual_seed(0)
        module = Asking(LanguageModel(source), [SoftPrompt(3)])
        trainer(max_epochs=2, callbacks=[*([EMA(0.9)] if average else []), SaveHalf()]).fit(module, BATCHES, **resume)
        return module.state_dict()[f"{PLACE}prompt.entry"]

    whole = run()
    half = read_checkpoint("half.ckpt")
    for state in ("state_dict", "current_model_state")[: 1 + average]:
        assert half[state].keys() == {f"{PLACE}prompt.entry"}
    assert not torch.equal(half["state_dict"][f"{PLACE}prompt.entry"], whole)
    assert torch.equal(run(ckpt_path="half.ckpt", weights_only=True), whole)


@pytest.mark.parametrize("best", [False, True])
def test_an_adapter_file_holds_the_prompt_and_its_base_is_the_source(source, trainer, tmp_path, best):
    path = tmp_path / "adapter.safetensors"
    callbacks = [AdapterCheckpoint(str(path)), *([ModelCheckpoint(tmp_path / "best", "best")] if best else [])]
    module = Asking(LanguageModel(source), [SoftPrompt(3)])
    trainer(max_epochs=1, callbacks=callbacks, enable_checkpointing=best).fit(module, BATCHES)
    assert torch.equal(load_adapter(path).eval().scores(BATCH), module.eval().scores(BATCH))
    assert path.stat().st_size < 8192
    save(llama(seed=1), source)
    with pytest.raises(ValueError, match="was trained on another base"):
        load_adapter(path)


@pytest.mark.parametrize(
    ("edit", "kept", "names"),
    [
        (PTuning(3), "SoftPrompt", {"prompt.entry"}),
        (PrefixTuning(3, hidden=4), "PrefixTuning", {"prompt.key", "prompt.value", "prompt.gate"}),
        (LoRA(rank=2, targets="q_proj"), None, {f"model.model.layers.{i}.self_attn.q_proj.weight" for i in (0, 1)}),
    ],
)
def test_what_is_merged_loads_and_says_the_same(fitted, tmp_path, edit, kept, names):
    pytest.importorskip("peft")
    module, path = fitted(edit)
    merge(path, str(tmp_path / "merged.ckpt"))
    merged = TransferModule.load_from_checkpoint(tmp_path / "merged.ckpt").eval()
    torch.testing.assert_close(merged.scores(BATCH), module.eval().scores(BATCH), rtol=1e-4, atol=1e-4)
    assert held(tmp_path / "merged.ckpt") == names
    edits = read_checkpoint(tmp_path / "merged.ckpt")["hyper_parameters"]["edits"]
    assert [edit["class_path"].rpartition(".")[2] for edit in edits] == ([kept] if kept else [])


def test_a_training_starts_from_a_prompt(fitted, source):
    pytest.importorskip("peft")
    module, path = fitted(LoRA(rank=2, targets="q_proj"))
    started = Asking(LanguageModel(source), [LoRA(rank=2, targets="q_proj"), StartFrom(path)])
    assert torch.equal(started.eval().scores(BATCH), module.eval().scores(BATCH))
