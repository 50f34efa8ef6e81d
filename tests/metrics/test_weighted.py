import pytest
import torch
from sklearn.metrics import average_precision_score
from torchmetrics.functional.classification import binary_calibration_error

from lightning_transfer.metrics import classification_metrics, multi_label_metrics
from lightning_transfer.metrics.weighted import bin_of, weighted_metrics


def repeated(tensor, counts):
    return tensor.repeat_interleave(counts, dim=0)


@pytest.mark.filterwarnings("ignore:No positive samples found in target")
@pytest.mark.parametrize("classes", [3, 12])
@pytest.mark.parametrize("multi_label", [False, True])
def test_counts_give_what_torchmetrics_gives_for_repeated_images(classes, multi_label):
    logits = 2 * torch.randn(60, classes)
    logits[:20] = logits[:20].round()  # some score alike
    target = (torch.rand(60, classes) < 0.3).float() if multi_label else torch.randint(classes - 1, (60,))
    counts = torch.stack([torch.ones(60), *torch.randint(4, (5, 60)), (torch.arange(60) < 3)]).long()
    found = weighted_metrics(logits, target)(counts.double())
    metrics = multi_label_metrics(classes) if multi_label else classification_metrics(classes)
    if multi_label:
        metrics.pop("map")  # in single precision, and where a label has no image it counts as 0
    for i, count in enumerate(counts):
        metrics.reset()
        metrics.update(repeated(logits, count), repeated(target, count).long())
        expected = {name: value.item() for name, value in metrics.compute().items()}
        if multi_label:
            pairs = repeated(logits, count).sigmoid().flatten(), repeated(target, count).long().flatten()
            expected["ece"] = binary_calibration_error(*pairs, n_bins=15).item()
            shown = [repeated(part, count).numpy() for part in (target, logits.sigmoid())]
            labels = [k for k in range(classes) if shown[0][:, k].any()]
            precisions = [average_precision_score(*(part[:, k] for part in shown)) for k in labels]
            expected["map"] = sum(precisions) / len(precisions)
            bce = torch.nn.functional.binary_cross_entropy_with_logits
            expected["nll"] = bce(repeated(logits, count), repeated(target, count)).item()
        else:
            cross_entropy = torch.nn.functional.cross_entropy
            expected["nll"] = cross_entropy(repeated(logits, count), repeated(target, count)).item()
        if multi_label and not repeated(target, count).any(dim=0).all():
            expected["map"] = found["map"][i].item()  # a label that only a resample lacks has no say in ours
        # sigmoid rounds equal logits unequally at the end of a tensor, so that torchmetrics misses some that score alike
        assert {name: value[i].item() for name, value in found.items()} == pytest.approx(expected, abs=1e-4)


def test_average_precision_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    score, label = torch.randn(80).round(decimals=1), (torch.rand(80) < 0.3).long()
    count = torch.randint(4, (80,))
    found = weighted_metrics(score[:, None], label[:, None].float())(count[None].double())["map"].item()
    expected = metrics.average_precision_score(label.numpy(), score.double().numpy(), sample_weight=count.numpy())
    assert found == pytest.approx(expected)


def test_a_label_without_images_counts_as_nothing_but_one_that_a_resample_lacks_does_not():
    target = torch.tensor([[1.0, 0, 0], [0, 0, 1]])
    logits = torch.tensor([[1.0, 3, 0], [2, 1, 1]])
    found = weighted_metrics(logits, target)(torch.tensor([[1.0, 1], [1, 0], [0, 1]]).double())
    assert found["map"].tolist() == pytest.approx([1.5 / 3, 2 / 3, 2 / 3])
    assert weighted_metrics(logits, 0 * target)(torch.ones(1, 2).double())["map"].tolist() == [0]


def test_bins_are_closed_below_and_one_has_its_own():
    edges = torch.linspace(0, 1, 16)
    assert bin_of(edges).tolist() == list(range(16))
    assert bin_of(edges[1:] - 1e-4).tolist() == list(range(15))
