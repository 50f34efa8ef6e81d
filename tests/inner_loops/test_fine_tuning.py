import pytest
import torch
from torch.nn.functional import normalize

from lightning_transfer.backbones import Conv4, TimmBackbone
from lightning_transfer.edits import FreezeBackbone
from lightning_transfer.inner_loops import FineTuning, TransductiveFineTuning

LOOPS = [FineTuning, TransductiveFineTuning]


def task():
    """Two ways, bright and dark."""
    target = torch.tensor([0, 1, 0, 1])
    support = 0.3 * torch.rand(4, 3, 32, 32) + 0.6 * target.view(-1, 1, 1, 1)
    query = 0.4 * torch.rand(6, 3, 32, 32) + 0.5 * torch.tensor([0, 1] * 3).view(-1, 1, 1, 1)
    return support, target, query


@pytest.mark.parametrize("loop", LOOPS)
def test_leaves_the_network_to_the_bit_as_it_was(loop):
    backbone = TimmBackbone("test_resnet", pretrained=False).train()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    episode = task()
    first, again = (loop(rate=1e-3, epochs=3)(backbone, *episode) for _ in range(2))
    assert torch.equal(first, again)
    assert backbone.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert all(p.grad is None for p in backbone.parameters())


def test_begins_with_the_mean_directions():
    backbone = Conv4(image_size=32).eval()
    support, target, query = task()
    directions = normalize(backbone(support).embedding, dim=1)
    weight = normalize(torch.stack([directions[target == k].mean(dim=0) for k in (0, 1)]), dim=1)
    found = FineTuning(rate=1e-12, epochs=1)(backbone, support, target, query)
    torch.testing.assert_close(found, backbone(query).embedding @ weight.T, atol=1e-5, rtol=1e-4)


def test_the_losses_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0], [1.0, -1.0]])
    target = torch.tensor([0])
    shown = -torch.log(torch.tensor(2.0).exp() / (torch.tensor(2.0).exp() + 1))
    torch.testing.assert_close(FineTuning().loss(logits[:1], target), shown)
    p = torch.tensor([2.0, 0.0]).softmax(dim=0)
    entropy = (torch.tensor(2.0).log() - (p * p.log()).sum()) / 2
    torch.testing.assert_close(TransductiveFineTuning().loss(logits, target), shown + entropy)


def test_only_the_transductive_one_looks_at_the_queries():
    backbone = Conv4(image_size=32).eval()
    support, target, query = task()
    for loop, alike in ((FineTuning(1e-3, 5), True), (TransductiveFineTuning(1e-3, 5), False)):
        assert (
            torch.allclose(
                loop(backbone, support, target, query)[:2], loop(backbone, support, target, query[:2]), atol=1e-5
            )
            is alike
        )


def test_learns_the_support_and_surer_answers():
    backbone = Conv4(image_size=32).eval()
    support, target, query = task()
    few, many = (TransductiveFineTuning(1e-3, epochs)(backbone, support, target, query) for epochs in (1, 40))
    assert many.argmax(dim=1).tolist() == [0, 1] * 3
    surer = [torch.distributions.Categorical(logits=logits).entropy().mean() for logits in (few, many)]
    assert surer[1] < surer[0]


def test_a_frozen_backbone_stays_so():
    backbone = Conv4(image_size=32).eval()
    model = torch.nn.Module()
    model.backbone = backbone
    FreezeBackbone()(model)
    support, target, query = task()
    found = FineTuning(0.1, 3)(backbone, support, target, query)
    embedding = backbone(query).embedding
    head = torch.linalg.lstsq(embedding, found - found.mean(dim=0)).solution  # answers stay linear in the old embedding
    assert torch.allclose(embedding @ head, found - found.mean(dim=0), atol=1e-3)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("arguments", "message"), [({"rate": 0}, "rate=0 of"), ({"epochs": 0}, "epochs=0 of")])
def test_refuses(loop, arguments, message):
    with pytest.raises(ValueError, match=f"{message} {loop.__name__} must be"):
        loop(**arguments)
