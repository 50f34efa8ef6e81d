import random
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import Transform

from lightning_transfer import DistillModule, Optim, TimmBackbone
from lightning_transfer.contracts import Features, ImageBatch, Prediction
from lightning_transfer.data import EvalTransform, FakeData, TrainTransform
from lightning_transfer.losses.distill import CRD, RKD, AttentionTransfer, FitNetHint, Labels, SoftTargetKL
from lightning_transfer.mixing import Mixup
from lightning_transfer.teachers import CachedTeacher, CheckpointTeacher, Ensemble, ModuleTeacher, TimmTeacher
from lightning_transfer.teachers.packing import Packing, top_and_tail
from lightning_transfer.teachers.rows import Rows, empty, intact

SIZE = 16


class Net(nn.Module):
    """A network whose weights depend on the seed alone, and that counts the images it is asked for."""

    def __init__(self, seed=0, classes=4, factor=1.0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(6, 3, 4, 4, generator=generator))
        self.head = nn.Parameter(factor * torch.randn(6, classes, generator=generator))
        self.norm = nn.BatchNorm2d(6)
        self.asked = 0

    def forward(self, image):
        self.asked += len(image)
        maps = self.norm(nn.functional.conv2d(image, self.weight, stride=4)).relu()
        return Prediction(maps.mean((2, 3)) @ self.head, Features(maps.mean((2, 3)), (maps,)))


def data(**options):
    options = {"image_size": SIZE, "images_per_class": 12, "augmentations": 2, **options}
    return FakeData(batch_size=5, num_workers=0, **options)


def cached(network=None, folder="answers", **options):
    return CachedTeacher(ModuleTeacher(network or Net()), folder, **{"precision": 32, **options})


class Losses(Callback):
    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(outputs["loss"].item())


@pytest.fixture
def train(trainer):
    """Trains a student and returns the loss of each step."""

    def run(teacher, source=None, losses=None, seed=0, epochs=4, fit=None, callbacks=(), **options):
        seed_everything(seed, verbose=False)
        losses = losses or {"labels": Labels(), "soft": SoftTargetKL(4)}
        module = DistillModule(
            TimmBackbone("test_resnet", pretrained=False),
            teacher,
            4,
            losses,
            optim=Optim(partial(SGD, lr=0.02), schedule=None),
            **options,
        )
        noted = Losses()
        trainer(max_epochs=epochs, callbacks=[noted, *callbacks], num_sanity_val_steps=0).fit(
            module, source or data(), **(fit or {})
        )
        return noted.values

    return run


def stored(folder="answers"):
    return Rows.open(Path(folder))


def test_what_is_read_is_what_a_live_teacher_says_and_it_is_asked_once(train):
    first, second = Net(), Net()
    live = train(ModuleTeacher(Net()))
    filling = train(cached(first))
    reading = train(cached(second))
    assert filling == reading
    steps = len(live) // 2  # of two epochs, in which every image is new
    assert filling[:steps] == live[:steps]
    # the teacher sees an image among others, which moves the last bits
    assert filling == pytest.approx(live, rel=1e-5)
    rows = stored().rows
    assert rows.shape == (2, len(data().splits()["train"]))
    example, validation = 2, len(data().splits()["val"])
    assert first.asked == example + validation + int((rows["image"] != 0).sum())
    assert second.asked == 0


def test_sixteen_bits_differ_by_their_rounding(train):
    live = train(ModuleTeacher(Net()))
    train(cached(precision=16))
    values = train(cached(precision=16))
    assert values[:3] == pytest.approx(live[:3], rel=2e-3)  # later the students differ too
    assert values != live
    assert stored().rows["scores"].dtype == np.float16


def test_embeddings_and_what_losses_draw_are_the_same(train):
    def losses():
        return {"labels": Labels(), "rkd": RKD(), "crd": CRD(negatives=4, dim=8)}

    live = train(ModuleTeacher(Net()), losses=losses())
    train(cached(embedding=True), losses=losses())
    assert train(cached(embedding=True), losses=losses()) == pytest.approx(live, rel=1e-4)


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_every_teacher_of_an_ensemble_is_kept_with_its_share(train, average):
    def ensemble():
        return Ensemble([ModuleTeacher(Net(seed)) for seed in range(3)], [2, 1, 1], average)

    live = train(ensemble())
    for _ in range(2):
        values = train(CachedTeacher(ensemble(), "answers", precision=32))
        assert values == pytest.approx(live, rel=1e-5)
    assert stored().rows["scores"].shape[2:] == ((3, 4) if average == "probabilities" else (4,))


def test_a_transform_that_draws_nothing_needs_one_version(train):
    first, options = Net(), {"train_transform": EvalTransform, "augmentations": None}
    live = train(ModuleTeacher(Net()), data(**options))
    values = train(cached(first), data(**options))
    assert values == pytest.approx(live, rel=1e-5)
    assert stored().rows.shape[0] == 1
    assert first.asked <= 2 + sum(len(split) for split in data().splits().values())


def test_students_of_other_seeds_read_the_same_answers(train):
    train(cached())
    train(cached())  # images that the first two epochs left out
    before, network = stored().rows.copy(), Net()
    train(cached(network), seed=1, epochs=2)
    known = int((before["image"] != 0).sum())
    assert network.asked == int((stored().rows["image"] != 0).sum()) - known < 10


def test_a_resumed_training_fills_and_reads_like_an_uninterrupted_one(train, trainer, tmp_path):
    live = train(ModuleTeacher(Net()), epochs=3)

    class Save(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            self.last = trainer

    saved = Save()
    begun = train(cached(), epochs=1, callbacks=[saved])
    saved.last.save_checkpoint(tmp_path / "x.ckpt")
    rest = train(cached(), epochs=3, fit={"ckpt_path": tmp_path / "x.ckpt", "weights_only": True})
    assert begun + rest == pytest.approx(live, rel=1e-5)


def test_a_checkpoints_network_is_not_read_where_nothing_is_wanting(train, checkpoint, monkeypatch):
    path, _ = checkpoint()
    source = {"augmentations": None, "train_transform": EvalTransform, "image_size": 32}
    first = train(CachedTeacher(CheckpointTeacher(path), "answers"), data(**source), epochs=9)
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointTeacher, "build", lambda _: pytest.fail("the network was loaded"))
        teacher = CachedTeacher(CheckpointTeacher(path), "answers")
        assert train(teacher, data(**source), epochs=9) == first
        assert teacher.class_names == data().class_names
        assert len(teacher.teacher.sha256) == 64
    torch.save(torch.load(path, weights_only=True) | {"epoch": 99}, path)
    with pytest.raises(ValueError, match="cache in answers was made with another teacher; give another folder, or rem"):
        train(CachedTeacher(CheckpointTeacher(path), "answers"), data(**source))
    Path(path).unlink()
    with pytest.raises(FileNotFoundError, match=r"teacher: .*teacher.ckpt' is no file"):
        train(CachedTeacher(CheckpointTeacher(path), "answers"), data(**source))


def test_a_students_checkpoint_names_the_cache_and_loads_without_it(train, checkpoint, tmp_path):
    path, _ = checkpoint()

    class Save(Callback):
        def on_train_end(self, trainer, pl_module):
            trainer.save_checkpoint(tmp_path / "x.ckpt")

    train(CachedTeacher(CheckpointTeacher(path), "answers"), data(image_size=32), epochs=1, callbacks=[Save()])
    shutil.rmtree("answers")
    Path(path).unlink()
    module = DistillModule.load_from_checkpoint(tmp_path / "x.ckpt")
    assert isinstance(module.teacher, CachedTeacher)
    assert len(module.teacher.teacher.sha256) == 64


@pytest.mark.parametrize(
    ("teacher", "source", "message"),
    [
        ({"network": Net(1)}, {}, "another teacher;"),
        ({}, {"split_seed": 1}, "other training images and augmentation_seed=0 where it is 1 now;"),
        ({}, {"labels_per_class": 3}, "other training images;"),
        ({}, {"train_transform": partial(TrainTransform, flip=0.0)}, "another train_transform;"),
        ({}, {"image_size": 20}, "another train_transform and image_size=16 where it is 20 now;"),
        ({}, {"augmentations": 3}, "augmentations=2 where it is 3 now;"),
        ({"top_k": 2}, {}, "top_k=None where it is 2 now;"),
        ({"precision": 16, "embedding": True}, {}, "precision=32 where it is 16 now and embedding=False where it is"),
    ],
)
def test_a_cache_of_anything_else_is_refused_before_training(train, teacher, source, message):
    train(cached(), epochs=1)
    steps, before = Losses(), Path("answers/rows.npy").read_bytes()
    with pytest.raises(ValueError, match=f"the cache in answers was made with {message}.*give another folder, or remo"):
        train(cached(**teacher), data(**source), callbacks=[steps])
    assert not steps.values
    assert Path("answers/rows.npy").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixing": Mixup()}, "mixing makes images that no cache can hold"),
        (
            {"losses": {"hint": FitNetHint(["backbone.model.layer2"], ["norm"])}},
            "losses look at the teacher's layers norm; leave",
        ),
        (
            {"losses": {"at": AttentionTransfer()}},
            "losses.at: AttentionTransfer compares maps, and the teacher shows none",
        ),
        ({"losses": {"rkd": RKD()}}, "losses.rkd: RKD compares embeddings, and the teacher shows none"),
        (
            {"source": data(augmentations=None)},
            "TrainTransform draws anew in each epoch.*set data.augmentations, to 10",
        ),
        ({"source": DataLoader([0]), "image_size": SIZE}, "it needs a datamodule of the package"),
    ],
)
def test_what_cannot_be_cached_gets_a_sentence_before_training(train, options, message):
    with pytest.raises(ValueError, match=message):
        train(cached(), **options)


def test_values_out_of_range_get_a_sentence(train):
    for options, message in (
        ({"top_k": 0}, "top_k=0 must be at least 1"),
        ({"precision": 8}, "precision=8 must be 16 or 32"),
        ({"check": 2}, "check=2 is a share"),
    ):
        with pytest.raises(ValueError, match=message):
            cached(**options)
    with pytest.raises(ValueError, match="top_k=4 must be less than the teacher's 4 classes"):
        train(cached(top_k=4))
    with pytest.raises(ValueError, match="within another"):
        CachedTeacher(cached(), "x")
    with pytest.raises(ValueError, match="put it around, not into it"):
        Ensemble([cached()])
    assert not Path("answers").exists()


def test_numbers_too_large_for_their_bits_get_a_sentence(train):
    with pytest.raises(ValueError, match=r"logits are not finite in 16 bits, their largest is .*; precision=32"):
        train(cached(Net(factor=1e6), precision=16))
    train(cached(Net(factor=1e6), folder="other"), epochs=1)


def test_a_disk_too_small_gets_a_sentence_and_nothing_is_left(train, monkeypatch):
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(ValueError, match=r"would take .*e-06 GB, but 1e-06 GB are free there; top_k, precision=16 or"):
        train(cached())
    assert not list(Path().iterdir())


def test_an_interrupted_making_leaves_nothing(train, monkeypatch):
    monkeypatch.setattr(
        "lightning_transfer.teachers.rows._reserve", lambda _: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(ValueError, match="cache in answers, of .* cannot be made: .*full"):
        train(cached())
    assert not list(Path().iterdir())


def test_torn_files_and_folders_of_others_get_a_sentence(train):
    train(cached(), epochs=1)
    path, content = Path("answers/rows.npy"), Path("answers/rows.npy").read_bytes()
    for torn in (content[: len(content) // 2], content[:20], b""):
        path.write_bytes(torn)
        with pytest.raises(ValueError, match=r"the cache in answers is torn \(.*\); remove the folder"):
            train(cached())
    path.write_bytes(content)
    Path("answers/about.json").write_text("{")
    with pytest.raises(ValueError, match="torn"):
        train(cached())
    Path("photos").mkdir()
    Path("photos/1.png").touch()
    with pytest.raises(ValueError, match="photos exists, but holds no teacher's outputs"):
        train(cached(folder="photos"))


def test_a_torn_row_is_computed_again(train):
    reference = train(cached())
    rows = stored().rows
    before = rows.copy()
    rows["scores"][0, 3] += 1  # without a new checksum, as half a row would be
    rows["image"][1, 4] = 0
    del rows
    network = Net()
    assert train(cached(network)) == pytest.approx(reference, rel=1e-5)
    assert network.asked == 2
    after = stored().rows
    assert np.array_equal(after["image"], before["image"])
    np.testing.assert_allclose(after["scores"], before["scores"], rtol=1e-5, atol=1e-5)


class OtherGenerator(Transform):
    """Draws where no seed of torch's reaches."""

    def transform(self, image, parameters):
        return (image * random.random()).to(torch.uint8)[..., :SIZE, :SIZE]


def test_an_answer_is_given_to_no_other_image(train):
    def source():
        return data(train_transform=lambda size: OtherGenerator(), augmentations=1)

    with pytest.raises(
        ValueError, match=r"another version of image fake/\d+ than epoch 1 has;.*another generator than"
    ):
        train(cached(), source())


def test_a_check_asks_again_and_stops_at_another_answer(train):
    train(cached())
    train(cached())
    network = Net()
    train(cached(network, check=1.0), epochs=1)
    batches = len(data().splits()["train"]) // 5
    assert network.asked == 5 * batches
    network = Net()
    train(cached(network, check=0.5), epochs=2)
    assert network.asked == 5 * (batches + 1)
    rows = stored()
    records = np.ascontiguousarray(rows.rows[0])
    sums, there = records["image"].copy(), records["image"] != 0
    records["scores"] = np.roll(records["scores"], 1, axis=-1)
    rows.write(0, np.arange(len(records)), records, sums)
    rows.rows["image"][0, ~there] = 0
    del rows
    steps = Losses()
    message = (
        r"disagrees with the teacher: its scores differ by up to .* and its best class differs for \d.*% of a batch"
    )
    with pytest.raises(ValueError, match=message):
        train(cached(check=0.01), callbacks=[steps])
    assert not steps.values  # the first batch is checked


def test_validation_is_counted_once_and_again_for_other_images(train):
    train(cached(), epochs=1)
    files = list(Path("answers").glob("validation-*.json"))
    assert len(files) == 1
    shown = Net()
    source = data(val_fraction=0.1)
    train(cached(shown), source, epochs=1)
    assert list(Path("answers").glob("validation-*.json")) == files
    train(cached(), data(eval_transform=partial(EvalTransform, crop=1.0)), epochs=1)
    assert len(list(Path("answers").glob("validation-*.json"))) == 2


def test_a_teacher_at_chance_is_refused_again_from_its_counts(train):
    def source():
        return data(val_fraction=0.7, images_per_class=30, augmentations=1)

    class Constant(Net):
        def forward(self, image):
            prediction = super().forward(image)
            return prediction._replace(logits=prediction.logits * 0 + torch.arange(4))

    for asked in (True, False):
        network = Constant()
        with pytest.raises(ValueError, match="the teacher is at chance level"):
            train(cached(network), source())
        assert bool(network.asked) is asked


def test_shared_weights_are_refused_within_a_cache_too(trainer):
    shared = TimmBackbone("test_resnet", pretrained=False)
    teachers = [ModuleTeacher(shared.model), Ensemble([ModuleTeacher(shared.model)])]
    for i, teacher in enumerate(teachers):
        module = DistillModule(shared, CachedTeacher(teacher, f"x{i}", embedding=True), 4, {"rkd": RKD()})
        with pytest.raises(ValueError, match="shares weights with the student"):
            trainer(max_epochs=1).fit(module, data(image_size=32))


def test_top_classes_keep_their_probabilities_and_the_others_share_the_rest():
    logits = torch.tensor([[4.0, 2, 1, 0, -1, -2]])
    scores, classes = top_and_tail(logits, 2)
    assert scores.exp()[0, 2].item() == pytest.approx(0.015940, abs=5e-7)
    assert classes.tolist() == [[0, 1]]
    assert (scores.exp()[0, :2].sum() + 4 * scores.exp()[0, 2]).item() == pytest.approx(1, abs=1e-6)


def roundtrip(logits, top_k, precision, embedding=False):
    packing = Packing(top_k, precision, embedding)
    embedded = torch.randn(logits.shape[-2], 5)
    shown = Prediction(logits, Features(embedded), None if logits.ndim == 2 else torch.tensor([0.75, 0.25]))
    kind = np.dtype([("image", "<i8"), ("content", "<i8"), *packing.fields(shown)])
    records = empty(logits.shape[-2], kind)
    packing.pack(shown, records)
    return shown, packing.unpack(records, logits.shape[-1], shown.shares, torch.device("cpu"))


@pytest.mark.parametrize("shape", [(7, 40), (2, 7, 40)])
@pytest.mark.parametrize(("precision", "tolerance"), [(16, 2e-3), (32, 1e-6)])
def test_reconstructed_logits_are_log_probabilities(shape, precision, tolerance):
    logits = 5 * torch.randn(shape)
    shown, again = roundtrip(logits, 6, precision, embedding=True)
    p, q = logits.softmax(-1), again.logits.softmax(-1)
    top = p.topk(6, dim=-1).indices
    torch.testing.assert_close(q.gather(-1, top), p.gather(-1, top), rtol=5 * tolerance, atol=tolerance)
    torch.testing.assert_close(again.logits.exp().sum(-1), torch.ones(shape[:-1]), rtol=0, atol=2 * tolerance)
    others = q.scatter(-1, top, float("nan"))
    for row in others.flatten(0, -2):
        left = row[~row.isnan()]
        assert torch.equal(left, left[:1].expand_as(left))
    torch.testing.assert_close(again.features.embedding, shown.features.embedding, rtol=tolerance, atol=tolerance)
    assert again.shares is shown.shares


def test_full_logits_come_back_bit_by_bit_and_classes_beyond_two_bytes_too():
    shown, again = roundtrip(torch.randn(2, 7, 40), None, 32)
    assert torch.equal(shown.logits, again.logits)
    shown, again = roundtrip(torch.randn(3, 40_000), 2, 32)
    assert torch.equal(shown.logits.topk(2).indices, again.logits.topk(2).indices)


def test_top_classes_train_at_temperature_one_like_the_whole_where_the_rest_is_nothing(train):
    losses = {"soft": SoftTargetKL(1)}
    sure = partial(Net, factor=500.0)
    live = train(ModuleTeacher(sure()), losses=losses)
    for _ in range(2):
        assert train(cached(sure(), top_k=2), losses=losses) == pytest.approx(live, rel=1e-2)
    assert stored().rows["scores"].shape[2:] == (3,)
    assert stored().rows["classes"].dtype == np.int16


def test_who_comes_second_finds_the_first_ones_folder():
    fields = [("scores", "<f4", (3,))]
    Rows.create(Path("x"), {"key": 1}, (2, 5), fields)
    first = stored("x")
    records = empty(2, first.rows.dtype)
    records["scores"] = 7
    first.write(1, np.array([0, 4]), records, np.array([11, 12]))
    Rows.create(Path("x"), {"key": 2}, (2, 5), fields)
    second = stored("x")
    assert second.about == {"key": 1}
    assert intact(second.read(1, np.arange(5))).tolist() == [True, False, False, False, True]
    assert [path.name for path in Path().iterdir()] == ["x"]


def test_a_folder_that_may_not_be_written_is_read(train, monkeypatch):
    train(cached())
    reference, before = train(cached()), Path("answers/rows.npy").read_bytes()
    monkeypatch.setattr("os.access", lambda *_: False)
    assert train(cached()) == reference
    stored().rows["image"] = 0
    assert Path("answers/rows.npy").read_bytes() == before


def test_training_in_half_precision_reads_the_same_answers(train, trainer):
    network = Net()
    train(cached())
    train(cached())
    teacher = cached(network, check=1.0)
    module = DistillModule(TimmBackbone("test_resnet", pretrained=False), teacher, 4, {"soft": SoftTargetKL(4)})
    trainer(max_epochs=1, precision="bf16-mixed").fit(module, data())
    assert network.asked > 0


def test_timms_and_others_are_told_apart_by_their_weights():
    torch.manual_seed(0)
    make = partial(TimmTeacher, "test_resnet", pretrained=False)
    one, other = make(), make()
    one.load()
    torch.manual_seed(1)
    assert len(one.fingerprint()) == 64
    assert one.fingerprint() != other.fingerprint()
    same = [ModuleTeacher(Net()).fingerprint() for _ in range(2)]
    assert same[0] == same[1] != ModuleTeacher(Net(1)).fingerprint()
    three = [Ensemble([ModuleTeacher(Net()), ModuleTeacher(Net(1))], weights) for weights in (None, [1, 1], [1, 2])]
    assert three[0].fingerprint() == three[1].fingerprint() != three[2].fingerprint()


def test_asked_directly_it_is_its_teacher():
    teacher, batch = cached(), ImageBatch(torch.rand(3, 3, SIZE, SIZE), torch.zeros(3, dtype=torch.long))
    with torch.no_grad():
        assert torch.equal(teacher(batch).logits, Net().eval()(batch.image).logits)
    assert teacher.network.asked == 3
