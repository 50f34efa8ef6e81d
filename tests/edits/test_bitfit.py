import pytest
import torch
from torch import nn

from lightning_transfer import FinetuneModule
from lightning_transfer.edits import BitFit, TrainNorms

NAMES = ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"]
HEAD = {"model.head.weight", "model.head.bias"}


@pytest.mark.parametrize("name", NAMES)
def test_biases_and_the_head_train_and_nothing_else_moves(name, adapted, trained, moved):
    module, _ = adapted(name, BitFit())
    biases = {n for n, _ in module.named_parameters() if n.endswith("bias") and ".backbone." in n}
    assert trained(module) == biases | HEAD
    assert moved(module) <= biases | HEAD  # no weight, and no statistic


def test_all_biases_move(adapted, trained, moved):
    module, _ = adapted("test_resnet", BitFit())
    assert moved(module) == trained(module)


def test_it_trains_as_it_evaluates(adapted):
    module, plain = adapted("test_resnet", BitFit())
    image = torch.rand(4, 3, 32, 32)
    assert torch.equal(module.train()(image).logits, module.eval()(image).logits)
    assert not torch.equal(plain.train()(image).logits, plain.eval()(image).logits)


def test_edits_add_up_in_either_order(adapted, trained):
    both = [
        trained(adapted("test_convnext", *edits)[0]) for edits in ([BitFit(), TrainNorms()], [TrainNorms(), BitFit()])
    ]
    parts = [trained(adapted("test_convnext", edit)[0]) for edit in (BitFit(), TrainNorms())]
    assert both[0] == both[1] == parts[0] | parts[1]
    assert parts[0] != both[0] != parts[1]


class Bare(nn.Module):
    num_features = 3

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3, bias=False)

    def forward(self, image):
        return self.layer(image.mean((2, 3)))


@pytest.mark.parametrize(
    ("edit", "message"), [(BitFit(), "BitFit found no bias"), (TrainNorms(), "TrainNorms found no norm")]
)
def test_a_backbone_without_them_gets_a_sentence(edit, message):
    with pytest.raises(ValueError, match=message):
        FinetuneModule(Bare(), 4, edits=[edit])
