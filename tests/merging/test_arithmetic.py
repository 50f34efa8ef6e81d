import pytest
import torch

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.merging import average, interpolate, require_alike


@pytest.fixture
def modules():
    """Two models of test_resnet with random weights and batch-norm statistics."""
    made = [FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4).eval() for _ in range(2)]
    for module in made:
        module.model.train()(torch.rand(16, 3, 32, 32))
        torch.nn.init.normal_(module.model.eval().head.weight)
    return made


def test_ends_are_the_two_models_bit_by_bit(modules):
    source, tuned = (module.model.state_dict() for module in modules)
    image = torch.rand(4, 3, 32, 32)
    expected = [module(image).logits for module in modules]
    assert not torch.equal(*expected)
    other = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4).eval()
    for alpha, logits in zip((0, 1), expected, strict=True):
        other.model.load_state_dict(interpolate(source, tuned, alpha))
        assert torch.equal(other(image).logits, logits)
    source["head.bias"][0] = float("inf")
    source["head.bias"][1] = -0.0
    assert torch.equal(interpolate(source, tuned, 1)["head.bias"], tuned["head.bias"])
    assert interpolate(source, tuned, 0)["head.bias"][1].signbit()


def test_interpolates_tensor_by_tensor_and_leaves_its_inputs_alone(modules):
    source, tuned = (module.model.state_dict() for module in modules)
    before = {name: tensor.clone() for name, tensor in source.items()}
    tuned["backbone.model.bn1.num_batches_tracked"].fill_(40)
    merged = interpolate(source, tuned, 0.25)
    for name, tensor in merged.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, source[name] + 0.25 * (tuned[name] - source[name]), msg=name)
        assert torch.equal(source[name], before[name])
    assert merged["backbone.model.bn1.num_batches_tracked"] == 40
    for name, tensor in interpolate(tuned, source, 0.75).items():
        assert torch.equal(tensor, merged[name]) or not tensor.is_floating_point()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_mean_of_equal_models_is_that_model(dtype):
    weights = {"w": torch.randn(1000, dtype=dtype), "n": torch.tensor(3)}
    for number in (1, 2, 3, 7):
        merged = average([weights] * number)
        torch.testing.assert_close(merged, weights, rtol=1e-15 if dtype == torch.float64 else 0, atol=0)
    torch.testing.assert_close(interpolate(weights, weights, 0.3), weights, rtol=1e-15, atol=0)


def test_averages_and_takes_integers_from_the_first():
    models = [{"w": torch.tensor([float(i)]), "n": torch.tensor(i)} for i in (2, 3, 7)]
    assert average(models) == {"w": torch.tensor([4.0]), "n": torch.tensor(2)}


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_refuses_shares_outside(alpha):
    with pytest.raises(ValueError, match=r"alpha=.* must lie in \[0, 1\]"):
        interpolate({}, {}, alpha)


def test_names_the_first_tensor_that_differs():
    model = {"a": torch.zeros(2), "b": torch.zeros(3)}
    require_alike({"x": model, "y": dict(model)})
    with pytest.raises(ValueError, match=r"'b' is \(3,\) float32 in source, but \(4,\) float32 in tuned"):
        interpolate(model, {**model, "b": torch.zeros(4)}, 0.5)
    with pytest.raises(ValueError, match=r"'a' is \(2,\) float32 in model 0, but \(2,\) float16 in model 1"):
        average([model, {**model, "a": torch.zeros(2).half()}])
    with pytest.raises(ValueError, match="x has a tensor 'b', which z lacks"):
        require_alike({"x": model, "z": {"a": model["a"]}})
    with pytest.raises(ValueError, match="z has a tensor 'c', which x lacks"):
        require_alike({"x": model, "z": {**model, "c": model["a"]}})
    with pytest.raises(ValueError, match="no model to average"):
        average([])
