import pytest
import torch
from torch.nn.functional import interpolate, pad

from lightning_transfer.prompts import (
    ExtendPrompt,
    FramePrompt,
    PaddingPrompt,
    PatchPrompt,
    RandomPatchPrompt,
    ScalePrompt,
    ShrinkPrompt,
)

STATISTICS = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
OVER_THE_IMAGE = [PaddingPrompt(5), PatchPrompt(3, 2, 4), RandomPatchPrompt(4), FramePrompt()]


def built(prompt, size=32, values=None):
    prompt.build(size, STATISTICS)
    if values is not None:
        prompt.values.data.copy_(values)
    return prompt


def image(size=32, count=2):
    return torch.rand(count, 3, size, size)


@pytest.mark.parametrize(
    ("prompt", "size", "count"),
    [
        (PaddingPrompt(1), 224, 2_676),
        (PaddingPrompt(10), 224, 25_680),
        (PaddingPrompt(30), 224, 69_840),  # the paper's
        (PaddingPrompt(56), 224, 112_896),
        (PatchPrompt(1), 224, 3),
        (RandomPatchPrompt(7), 224, 3 * 49),
        (FramePrompt(), 224, 3 * 224**2),
        (ShrinkPrompt(164), 224, 69_840),
        (ShrinkPrompt(canvas=224), 128, 3 * (224**2 - 128**2)),
        (ExtendPrompt(5), 224, 3 * 2 * 5 * (224 + 10) + 3 * 224 * 2 * 5),
        (ScalePrompt(), 64, 3 * 64**2 + 1),
    ],
)
def test_counts_of_parameters(prompt, size, count):
    prompt.build(size)
    assert sum(p.numel() for p in prompt.parameters()) == count


@pytest.mark.parametrize("space", ["pixel", "normalised"])
@pytest.mark.parametrize("kind", [PaddingPrompt, PatchPrompt, RandomPatchPrompt, FramePrompt])
def test_a_prompt_of_zeros_that_is_added_changes_no_bit(kind, space):
    prompt = built(
        kind(**({} if kind is FramePrompt else {"width" if kind is PaddingPrompt else "side": 3}), space=space)
    )
    x = image()
    assert torch.equal(prompt(x), x)


def test_the_ring_covers_the_margin_and_at_half_the_image_all_of_it():
    prompted = built(PaddingPrompt(5, init="uniform", merge="replace"), values=torch.tensor(0.25))(image())
    x = image()
    prompted = built(PaddingPrompt(5, merge="replace"), values=torch.tensor(0.25))(x)
    assert torch.equal(prompted[..., 5:-5, 5:-5], x[..., 5:-5, 5:-5])
    for side in (prompted[..., :5, :], prompted[..., -5:, :], prompted[..., :5], prompted[..., -5:]):
        assert (side == 0.25).all()
    assert built(PaddingPrompt(16)).index.shape == (1, 32**2)


def test_values_lie_in_the_order_of_rows():
    prompt = built(PatchPrompt(2, top=1, left=3), 6, torch.tensor([[1.0, 2, 3, 4]] * 3))
    expected = torch.zeros(6, 6)
    expected[1, 3:5], expected[2, 3:5] = torch.tensor([1.0, 2]), torch.tensor([3.0, 4])
    assert torch.equal(prompt(torch.zeros(1, 3, 6, 6))[0, 1], expected)


@pytest.mark.parametrize(("merge", "what"), [("add", 0), ("replace", 1)])
def test_normalised_values_are_what_the_source_sees(merge, what):
    """Behind the normalisation an added value is added as it is, and one that replaces stands as it is."""
    mean, std = STATISTICS
    values = torch.randn(3, 4)
    x = image(6)
    seen = (built(PatchPrompt(2, space="normalised", merge=merge), 6, values)(x) - mean) / std
    before = (x - mean) / std
    expected = values.view(3, 2, 2) + (0 if what else before[..., :2, :2])
    torch.testing.assert_close(seen[..., :2, :2], expected.expand(2, -1, -1, -1))
    torch.testing.assert_close(seen[..., 2:, :], before[..., 2:, :])


def test_clamps():
    x = image()
    assert built(FramePrompt(clamp="image"), values=torch.tensor(0.7))(x).max() == 1
    assert built(FramePrompt(), values=torch.tensor(0.7))(x).max() > 1
    grey = built(FramePrompt(clamp="sigmoid", merge="replace"))(x)
    assert torch.equal(grey, torch.full_like(x, 0.5))


def test_starts():
    torch.manual_seed(0)
    normal, uniform = (built(FramePrompt(init=init), 64).values for init in ("normal", "uniform"))
    assert abs(normal.mean()) < 0.05
    assert abs(normal.std() - 1) < 0.05
    assert 0 <= uniform.min() < 0.01 < 0.99 < uniform.max() < 1
    assert not built(FramePrompt()).values.any()


def test_a_random_patch_reaches_every_place_and_rests_in_evaluation():
    prompt = built(RandomPatchPrompt(3, seed=4), 5, torch.ones(3, 9))
    x = torch.zeros(500, 3, 5, 5)
    corners = {tuple(torch.nonzero(one[0])[0].tolist()) for one in prompt(x)}
    assert corners == {(i, j) for i in range(3) for j in range(3)}  # the last row and column too
    assert (prompt(x).sum(dim=(1, 2, 3)) == 27).all()
    prompt.eval()
    assert torch.equal(prompt(x), prompt(x[:1]).expand_as(x))
    state = torch.get_rng_state()
    prompt(x)
    assert torch.equal(torch.get_rng_state(), state)
    places = {
        built(RandomPatchPrompt(3, seed=s), 5, torch.ones(3, 9)).eval()(x[:1]).nonzero()[0, -2:].sum().item()
        for s in range(20)
    }
    assert len(places) > 1
    assert built(RandomPatchPrompt(5), 5)(x[:1]).shape == (1, 3, 5, 5)  # as large as the image


def test_shrinking_keeps_the_whole_image_within_the_border():
    x = image(32)
    prompted = built(ShrinkPrompt(16), values=torch.tensor(0.5))(x)
    within = interpolate(x, (16, 16), mode="bilinear", antialias=True)
    torch.testing.assert_close(prompted[..., 8:24, 8:24], within)
    assert (prompted[..., :8, :] == 0.5).all()
    assert (prompted[..., 24:, :] == 0.5).all()
    assert torch.equal(built(ShrinkPrompt(canvas=40))(x)[..., 4:36, 4:36], x)  # in its own size untouched
    odd = built(ShrinkPrompt(canvas=37))(x)
    assert torch.equal(odd[..., 3:35, 3:35], x)
    sharp = (torch.rand(2, 3, 32, 32) > 0.5).float()
    bicubic = built(ShrinkPrompt(24, interpolation="bicubic"))(sharp)
    assert bicubic.min() == 0
    assert bicubic.max() == 1
    assert not torch.equal(bicubic, built(ShrinkPrompt(24))(sharp))


def test_extending_leaves_the_image_and_adds_a_ring():
    x = image(8)
    prompted = built(ExtendPrompt(2, init="uniform"), 8)(x)
    assert prompted.shape == (2, 3, 12, 12)
    assert torch.equal(prompted[..., 2:-2, 2:-2], x)
    ring = prompted - pad(x, (2, 2, 2, 2))
    assert (ring != 0).sum() == 2 * 3 * (144 - 64)


def test_a_learned_scale():
    x = image(16)
    half = built(ScalePrompt(0.5), 16, torch.tensor(0.3))
    prompted = half(x)
    assert torch.allclose(prompted[..., :3, :], torch.tensor(0.3))
    within = interpolate(
        x, (8, 8), mode="bilinear", align_corners=False
    )  # each pixel between four, without antialiasing
    torch.testing.assert_close(prompted[..., 4:12, 4:12], within)
    whole = built(ScalePrompt(1.0), 16)
    torch.testing.assert_close(whole(x), x)
    (slope,) = torch.autograd.grad(half(x).square().sum(), half.scale)
    with torch.no_grad():
        values = []
        for step in (1e-3, -1e-3):
            half.scale += step
            values.append(half.double()(x.double()).square().sum())
            half.float().scale -= step
    assert slope == pytest.approx(((values[0] - values[1]) / 2e-3).item(), rel=0.05)
    half.scale.data.fill_(99.0)
    five = built(ScalePrompt(5.0), 16, torch.tensor(0.3))
    torch.testing.assert_close(half(x), five(x))


@pytest.mark.parametrize(
    "prompt", [*OVER_THE_IMAGE, ShrinkPrompt(20), ExtendPrompt(4), ScalePrompt(), PaddingPrompt(3, space="normalised")]
)
def test_gradient_reaches_all_values_and_the_right_ones(prompt):
    built(prompt)
    x = image().requires_grad_()
    weight = torch.rand(2, 3, prompt.output_size, prompt.output_size) + 0.5
    (prompt(x) * weight).sum().backward()
    reached = prompt.values.grad != 0
    assert reached.all() or isinstance(prompt, ScalePrompt)
    mask = prompt.mask(prompt.positions(2)) if not isinstance(prompt, RandomPatchPrompt) else None
    if mask is not None:
        unit = prompt.unit
        expected = (mask * weight.sum(dim=0, keepdim=True) * unit).flatten(2)[0][:, prompt.index[0]]
        torch.testing.assert_close(prompt.values.grad, expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PaddingPrompt(0), "width=0 of PaddingPrompt must be at least 1"),
        (
            lambda: built(PaddingPrompt(17)),
            "width=17 of PaddingPrompt is more than half of image_size=32; 16 covers all",
        ),
        (lambda: PatchPrompt(0), "the side must be at least 1"),
        (lambda: built(PatchPrompt(20, top=13)), "reach to row 33 and column 20, beyond image_size=32"),
        (lambda: built(RandomPatchPrompt(33)), "side=33 of RandomPatchPrompt is larger than image_size=32"),
        (
            lambda: built(ShrinkPrompt(32)),
            r"side=32 of ShrinkPrompt must lie in 1 to 31, so that canvas=32 has a border",
        ),
        (lambda: built(ShrinkPrompt(canvas=16)), "side=32 of ShrinkPrompt must lie in 1 to 15"),
        (lambda: ShrinkPrompt(8, interpolation="nearest"), "must be bilinear or bicubic"),
        (lambda: ScalePrompt(0.05), r"scale=0\.05 of ScalePrompt must lie in \[0\.1, 5\.0\]"),
        (lambda: ExtendPrompt(0), "width=0 of ExtendPrompt"),
        (lambda: FramePrompt(space="units"), "space='units' of FramePrompt must be pixel, normalised"),
        (lambda: FramePrompt(clamp="sigmoid", space="normalised"), "set space=pixel, or clamp=none"),
        (lambda: FramePrompt(space="normalised").build(32), "the source tells none; set space=pixel"),
        (lambda: built(FramePrompt())(image(24)), "made for images of 32x32 pixels and 3 channels, not 24x24 and 3"),
        (lambda: built(FramePrompt())(torch.rand(1, 1, 32, 32)), "not 32x32 and 1"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()
