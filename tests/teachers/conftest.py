import pytest

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.data import FakeData


@pytest.fixture
def checkpoint(trainer, tmp_path):
    """Writes a checkpoint of a classifier that saw one batch."""

    def write(name="teacher.ckpt", **options):
        data = FakeData(image_size=32, num_classes=options.pop("num_classes", 4))
        arguments = {"num_classes": data.num_classes, "class_names": data.class_names, **options}
        module = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), **arguments)
        run = trainer(max_steps=2)
        run.fit(module, data)
        run.save_checkpoint(tmp_path / name)
        return str(tmp_path / name), module.eval()

    return write
