import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.edits import FreezeBackbone
from lightning_transfer.merging import recompute_batch_norm


@pytest.mark.parametrize("offset", [0, 1000])
def test_one_norm_has_the_moments_of_all_images_at_once(offset):
    norm = nn.BatchNorm2d(3)
    batches = [torch.randn(n, 3, 5, 4) * n + offset for n in (8, 8, 3)]
    recompute_batch_norm(norm, batches)
    every = torch.cat(batches).transpose(0, 1).flatten(1).double()
    torch.testing.assert_close(norm.running_mean.double(), every.mean(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(norm.running_var.double(), every.var(1), rtol=1e-5, atol=0)


def test_has_the_means_that_torch_has_and_the_variance_between_batches_besides():
    ours, theirs = nn.BatchNorm1d(4), nn.BatchNorm1d(4)
    batches = [torch.randn(6, 4) for _ in range(2)]
    batches = [batch - batch.mean(0) + shift for batch, shift in zip(batches, (0.0, 3.0), strict=True)]
    recompute_batch_norm(ours, batches)
    update_bn(batches, theirs)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    between = 12 * 1.5**2  # summed squares of the two means about theirs
    torch.testing.assert_close(ours.running_var, (10 * theirs.running_var + between) / 11)


def test_deeper_norms_see_what_training_shows_them():
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
    ).eval()
    batches = [torch.rand(n, 3, 9, 9) for n in (6, 4)]
    seen = []
    for batch in batches:
        x = model[0](batch)
        x = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
        seen.append(model[3](x.relu()).transpose(0, 1).flatten(1))
    recompute_batch_norm(model, batches)
    torch.testing.assert_close(model[4].running_mean, torch.cat(seen, 1).mean(1))
    torch.testing.assert_close(model[4].running_var, torch.cat(seen, 1).var(1))
    assert not any(module.training for module in model.modules())


def test_dropout_rests_and_modes_return():
    model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(2))
    model[0].eval()
    batch = torch.randn(50, 2)
    recompute_batch_norm(model, [batch])
    torch.testing.assert_close(model[1].running_mean, batch.mean(0))
    assert [module.training for module in model.modules()] == [True, False, True]


def test_frozen_norms_keep_their_statistics():
    frozen = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, edits=[FreezeBackbone()])
    before = {name: tensor.clone() for name, tensor in frozen.state_dict().items()}
    recompute_batch_norm(frozen.model, [torch.rand(4, 3, 32, 32)])
    assert all(torch.equal(tensor, before[name]) for name, tensor in frozen.state_dict().items())
    free = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4)
    before = free.model.backbone.model.bn1.running_mean.clone()
    recompute_batch_norm(free.model, [torch.rand(4, 3, 32, 32)])
    assert not torch.equal(free.model.backbone.model.bn1.running_mean, before)


def test_models_without_norms_look_at_no_image():
    recompute_batch_norm(nn.Linear(2, 2), (pytest.fail("looked") for _ in range(1)))


def test_refuses_to_work_without_images():
    norm = nn.BatchNorm1d(2)
    with pytest.raises(ValueError, match="at least two values a channel"):
        recompute_batch_norm(norm, [])
    assert norm.training
    assert not norm._forward_pre_hooks
