import pytest
import torch
from torch import nn

from lightning_transfer.models.layers import recorded


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.body = nn.Sequential(nn.Linear(4, 5), nn.ReLU())
        self.pair = Pair()
        self.unused = nn.Linear(1, 1)

    def forward(self, x):
        return self.pair(self.body(self.stem(x)))[0]


class Pair(nn.Module):
    def forward(self, x):
        return x, x


def test_notes_inputs_and_outputs_of_any_module_and_leaves_nothing_behind():
    net, x = Net(), torch.randn(1, 3)
    with recorded(net, ["stem", "body.1:input", "body:output", "body.1:input"], "student") as found:
        net(x)
    torch.testing.assert_close(found["stem"], net.stem(x))
    torch.testing.assert_close(found["body.1:input"], net.body[0](net.stem(x)))
    torch.testing.assert_close(found["body:output"], found["body.1:input"].relu())
    assert found["stem"].requires_grad
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("steam", "the student has no layer 'steam'; nearest names: stem"),
        ("xyz", "nearest names: stem, body, pair, unused"),
        ("stem:middle", "after the colon comes input or output"),
        ("pair", "layer 'pair' of the student passes tuple, not a tensor"),
        ("unused", "passes nothing: it was not called"),
    ],
)
def test_names_that_lead_nowhere_get_a_sentence(layer, message):
    net = Net()
    with pytest.raises(ValueError, match=message), recorded(net, [layer], "student"):
        net(torch.randn(2, 3))
    assert not net.stem._forward_hooks
