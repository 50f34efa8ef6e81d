import pytest
import torch
from torchvision.transforms import v2

from lightning_transfer import TimmBackbone
from lightning_transfer.data import EvalTransform, FakeData, TrainTransform
from lightning_transfer.data.modalities import Edges, Grey, InModality, Silhouette
from lightning_transfer.features import feature_key
from lightning_transfer.parts import describe

ALL = (Grey(), Edges(), Silhouette())


def picture(side=16):
    seen = torch.randint(256, (3, side, side), dtype=torch.uint8)
    seen[:, torch.rand(side, side) < 0.3] = 255
    return seen


@pytest.mark.parametrize("modality", ALL, ids=lambda m: type(m).__name__)
def test_bytes_and_floats_give_the_same_in_unit_range(modality):
    seen = picture()
    found = modality(seen)
    assert (found.shape, found.dtype) == (seen.shape, torch.float32)
    assert found.min() >= 0
    assert 0 < found.max() <= 1
    torch.testing.assert_close(found, modality(seen / 255), atol=2 / 255, rtol=0)
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("modality", ALL, ids=lambda m: type(m).__name__)
def test_each_pixel_stays_in_its_place(modality):
    seen = picture() / 255
    torch.testing.assert_close(modality(seen.flip(-1)), modality(seen).flip(-1))
    torch.testing.assert_close(modality(seen.transpose(-2, -1)), modality(seen).transpose(-2, -1))


def test_a_step_gives_its_height_and_a_flat_picture_nothing():
    step = torch.zeros(3, 8, 8)
    step[..., 4:] = 0.25
    found = Edges(gain=2)(step)
    assert found[0, 3].tolist() == pytest.approx([0, 0, 0, 0.5, 0.5, 0, 0, 0], abs=1e-3)
    assert Edges(gain=8)(step).max() == 1
    assert Edges()(torch.full((3, 8, 8), 0.7)).max() < 1e-6


def test_the_slope_of_a_ramp_is_the_edge_in_any_direction():
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    ramp = (0.02 * rows + 0.015 * columns).expand(3, -1, -1)
    # over two pixels, as a Sobel filter that gives a step its height takes the difference
    torch.testing.assert_close(Edges(gain=1)(ramp)[0, 1:-1, 1:-1], torch.full((14, 14), 2 * 0.025), atol=1e-4, rtol=0)


def test_silhouettes_are_black_on_white_and_forgive_the_ground_its_ripples():
    seen = torch.full((3, 8, 8), 0.95)
    seen[0, 2:5, 2:5] = 0.5  # one channel is enough
    found = Silhouette(tolerance=0.1)(seen)
    assert (found == 0).sum() == 3 * 9
    assert not found[:, 2:5, 2:5].any()
    assert Silhouette(tolerance=0.6)(seen).all()


@pytest.mark.parametrize(
    ("make", "message"), [(lambda: Edges(gain=0), "gain=0"), (lambda: Silhouette(tolerance=1), "tolerance=1")]
)
def test_values_out_of_range_get_a_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def data(**options):
    return FakeData(**{"image_size": 16, "num_workers": 0, **options})


def first(made):
    made.setup("fit")
    return next(iter(made.train_dataloader()))


def test_the_model_sees_the_modality_of_the_picture_that_the_transform_drew():
    batch = first(data(modality=Edges()))
    plain = first(data())
    assert torch.equal(batch.modalities["picture"], plain.image)
    expected = torch.stack([Edges()(image) for image in plain.image])
    torch.testing.assert_close(batch.image, expected, atol=0.02, rtol=0)  # that of bytes, not of rounded floats
    assert not plain.modalities


def test_every_split_a_folder_and_features_are_seen_in_the_modality():
    plain, edges = data(), data(modality=Edges())
    source = plain.splits()["val"]
    for stage, loader in (
        ("test", "test_dataloader"),
        ("validate", "val_dataloader"),
        ("predict", "predict_dataloader"),
    ):
        for each in (plain, edges):
            each.setup(stage)
        seen, picture = (next(iter(getattr(each, loader)())) for each in (edges, plain))
        torch.testing.assert_close(
            seen.image, torch.stack([Edges()(image) for image in picture.image]), atol=0.02, rtol=0
        )
    ordered = next(iter(edges.ordered_dataloader(source)))
    assert not torch.equal(ordered.image, next(iter(plain.ordered_dataloader(source))).image)
    keys = {
        feature_key(TimmBackbone("test_resnet", pretrained=False), each, source).transform
        for each in (plain, edges, data(modality=Edges(gain=1)))
    }
    assert len(keys) == 3


def test_comes_back_from_plain_data():
    assert data(modality=Edges(3)).hparams["modality"] == {
        "class_path": "lightning_transfer.data.modalities.edges.Edges",
        "init_args": {"gain": 3},
    }
    assert describe(InModality(EvalTransform(8), Grey()))["init_args"]["modality"]["class_path"].endswith("Grey")


def test_a_factory_may_give_floats():
    batch = first(
        data(
            modality=Grey(),
            train_transform=lambda size: v2.Compose([TrainTransform(size), v2.ToDtype(torch.float32, scale=True)]),
        )
    )
    torch.testing.assert_close(batch.image[:, :1], v2.functional.rgb_to_grayscale(batch.modalities["picture"]))
