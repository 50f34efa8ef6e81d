import math

import pytest
import torch
from torch.nn.functional import logsigmoid, normalize

from lightning_transfer.losses.pair import PairwiseSigmoid, SymmetricCrossEntropy

SCALE, BIAS = torch.tensor(5.0), torch.tensor(-2.0)
LOSSES = [SymmetricCrossEntropy, PairwiseSigmoid]


def vectors(count=12, dim=6):
    return [normalize(torch.randn(count, dim, dtype=torch.float64), dim=-1).float() for _ in range(2)]


def slow_clip(image, text, scale, group):
    def one_way(scores):
        costs = []
        for i, row in enumerate(scores):
            others = [row[j] for j in range(len(row)) if j == i or group[j] != group[i]]
            costs.append(torch.logsumexp(torch.stack(others), 0) - row[i])
        return sum(costs) / len(costs)

    scores = scale * image @ text.T
    return (one_way(scores) + one_way(scores.T)) / 2


def slow_sigmoid(image, text, scale, bias, group):
    total = 0
    for i in range(len(image)):
        for j in range(len(text)):
            if i == j or group[i] != group[j]:
                score = scale * image[i] @ text[j] + bias
                total = total - logsigmoid(score if i == j else -score)
    return total / len(image)


@pytest.mark.parametrize("groups", [range(12), [0, 1, 1, 2, 3, 3, 3, 4, 5, 6, 7, 0]])
def test_equal_a_slow_loop_with_and_without_duplicates(groups):
    image, text = vectors()
    group = torch.tensor([*groups])
    clip = SymmetricCrossEntropy()(image, text, SCALE, None, group)
    assert clip.item() == pytest.approx(slow_clip(image, text, SCALE, group).item(), rel=1e-5)
    sigmoid = PairwiseSigmoid()(image, text, SCALE, BIAS, group)
    assert sigmoid.item() == pytest.approx(slow_sigmoid(image, text, SCALE, BIAS, group).item(), rel=1e-5)


def test_three_pairs_two_of_one_caption_by_hand():
    image = torch.eye(3)
    text = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 0, 1.0]])
    group = torch.tensor([4, 4, 9])
    e = math.e
    # image 0 sees texts 0 and 2 with scores 1 and 0; image 1 texts 1 and 2 with 0 and 0; image 2 all, with 0, 0 and 1
    images = [math.log(1 + 1 / e), math.log(2), math.log(1 + 2 / e)]
    # text 0 sees images 0 and 2 with 1 and 0; text 1 images 1 and 2 with 0 and 0; text 2 all, with 0, 0 and 1
    texts = [math.log(1 + 1 / e), math.log(2), math.log(1 + 2 / e)]
    loss = SymmetricCrossEntropy()(image, text, torch.tensor(1.0), None, group)
    assert loss.item() == pytest.approx((sum(images) + sum(texts)) / 6, rel=1e-6)
    # sigmoid, bias 0: right pairs score 1, 0, 1; wrong ones 0-2, 1-2, 2-0, 2-1 all score 0
    loss = PairwiseSigmoid()(image, text, torch.tensor(1.0), torch.tensor(0.0), group)
    assert loss.item() == pytest.approx((2 * math.log(1 + 1 / e) + 5 * math.log(2)) / 3, rel=1e-6)


def test_without_similarity_clip_is_the_logarithm_of_the_batch():
    image, text = torch.eye(16)[:8], torch.eye(16)[8:]
    assert SymmetricCrossEntropy()(image, text, SCALE).item() == pytest.approx(math.log(8), rel=1e-6)


def test_is_the_same_with_images_and_texts_swapped_or_pairs_in_another_order():
    image, text = vectors()
    group, order = torch.arange(12) % 9, torch.randperm(12)
    for loss in (SymmetricCrossEntropy(), PairwiseSigmoid()):
        value = loss(image, text, SCALE, BIAS, group)
        torch.testing.assert_close(loss(text, image, SCALE, BIAS, group), value)
        torch.testing.assert_close(loss(image[order], text[order], SCALE, BIAS, group[order]), value)


@pytest.mark.parametrize("kind", LOSSES)
def test_copies_of_a_pair_cost_what_one_of_them_does_and_draw_alike(kind):
    image, text = vectors(6)
    gradients, losses = [], []
    for copies in (1, 4):
        rows = torch.tensor([0] * copies + [1, 2, 3, 4, 5])
        own = image.clone().requires_grad_()
        # what pair 0 costs in a batch with others: the rest of the batch is cut off from the gradient
        pictures = torch.cat([own[:1].expand(copies, -1), image[1:]])
        losses.append(kind()(pictures, text[rows], SCALE, BIAS, rows) * len(rows))
        alone = kind()(own[:1].expand(copies, -1), text[:1].expand(copies, -1), SCALE, BIAS, torch.zeros(copies))
        gradients.append(torch.autograd.grad(alone, own)[0])
        assert alone.item() == pytest.approx(
            0 if kind is SymmetricCrossEntropy else -logsigmoid(SCALE * image[0] @ text[0] + BIAS).item(), abs=1e-6
        )
    torch.testing.assert_close(*gradients)
    assert losses[0].item() != pytest.approx(losses[1].item())


def test_many_perfect_pairs_cost_nothing_to_the_last_digit():
    image = torch.eye(600)
    assert PairwiseSigmoid()(image, image, torch.tensor(100.0), torch.tensor(-50.0)).item() == pytest.approx(
        0, abs=1e-12
    )


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("chunk", [1, 5, 12])
def test_chunks_change_neither_loss_nor_gradient(kind, chunk):
    results = []
    for rows in (1000, chunk):
        torch.manual_seed(3)
        image, text = (side.requires_grad_() for side in vectors())
        scale, bias = SCALE.clone().requires_grad_(), BIAS.clone().requires_grad_()
        loss = kind(rows)(image, text, scale, bias, torch.arange(12) % 9)
        loss.backward()
        results.append(
            [loss.detach(), image.grad, text.grad, scale.grad] + ([bias.grad] if bias.grad is not None else [])
        )
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", LOSSES)
def test_chunks_keep_no_whole_matrix_of_scores(kind):
    saved = []
    image, text = (side.requires_grad_() for side in vectors(64))

    def pack(tensor):
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kind(8)(image, text, SCALE.clone().requires_grad_(), BIAS, torch.arange(64)).backward()
    assert max(saved) < 64 * 64  # rows of 8 at most, while they are computed again


@pytest.mark.parametrize("kind", LOSSES)
def test_is_finite_under_half_precision(kind):
    image, text = (side.requires_grad_() for side in vectors(64))
    with torch.autocast("cpu", torch.bfloat16):
        loss = kind()(image.bfloat16(), text.bfloat16(), torch.tensor(100.0), BIAS)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert image.grad.isfinite().all()


def test_refuses():
    with pytest.raises(ValueError, match="chunk=0 of PairwiseSigmoid must be at least 1"):
        PairwiseSigmoid(0)
    with pytest.raises(
        ValueError, match=r"\(12, 6\) and the texts' \(11, 6\); a loss of pairs needs one text an image"
    ):
        SymmetricCrossEntropy()(vectors()[0], vectors(11)[0], SCALE)
    with pytest.raises(ValueError, match="PairwiseSigmoid needs a bias"):
        PairwiseSigmoid()(*vectors(), SCALE)
