import pytest
import torch

from lightning_transfer.text_towers import TextTokens, TransformerTower

TEXTS = ["a frog", "Ein Äffchen, 猿 🐒, \n\t!", "x"]


def tower(**options):
    return TransformerTower(width=16, depth=2, heads=2, context_length=48, **options).eval()


def test_gives_back_every_text():
    made = tower()
    assert made.decode(made.tokenize(TEXTS)) == TEXTS


@pytest.mark.parametrize("causal", [True, False])
def test_a_text_has_one_vector_whatever_stands_beside_it(causal):
    made = tower(causal=causal)
    with torch.no_grad():
        together = made(made.tokenize(TEXTS))
        for text, vector in zip(TEXTS, together, strict=True):
            torch.testing.assert_close(made(made.tokenize([text]))[0], vector, rtol=1e-5, atol=1e-5)


def test_causal_tokens_do_not_see_what_comes_after_them():
    outputs = {}
    for causal in (True, False):
        made = tower(causal=causal)
        ids = made.tokenize(["abcdef", "abcxyz"]).ids
        mask = torch.ones(2, 4, dtype=torch.bool)  # pooled at the third letter: what follows is cut off
        entries = made.embed(ids)
        full = torch.ones(2, ids.shape[1], dtype=torch.bool)
        seen = {}
        handle = made.blocks.register_forward_hook(lambda *call, seen=seen: seen.update(all=call[2]))
        made.encode(entries, TextTokens(ids, full))
        handle.remove()
        outputs[causal] = seen["all"][:, :4], mask
    assert torch.allclose(*outputs[True][0], atol=1e-6)
    assert not torch.allclose(*outputs[False][0], atol=1e-6)


def test_order_counts_and_entries_can_take_the_place_of_words():
    made = tower()
    tokens = made.tokenize(["ab", "ba"])
    vectors = made(tokens)
    assert not torch.allclose(*vectors, atol=1e-5)
    entries = made.embed(tokens.ids).detach().requires_grad_()
    replaced = made.encode(entries, tokens)
    torch.testing.assert_close(replaced, vectors)
    replaced[:, 0].sum().backward()
    assert entries.grad.abs().sum(dim=2).gt(0).all()


def test_trains_in_half_precision_and_has_the_spread_of_clip():
    made = TransformerTower(width=64, depth=3)
    assert made.tokens.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert made.blocks.layers[2].linear2.weight.std().item() == pytest.approx((2 * 64 * 3) ** -0.5, rel=0.05)
    with torch.autocast("cpu", torch.bfloat16):
        made(made.tokenize(TEXTS)).float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in made.parameters())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 30, "heads": 4}, "width=30 of TransformerTower must be a multiple of heads=4"),
        ({"depth": 0}, "depth=0 of TransformerTower must be at least 1"),
        ({"context_length": 2}, "context_length=2 of TransformerTower must be at least 3"),
    ],
)
def test_refuses_sizes(options, said):
    with pytest.raises(ValueError, match=said):
        TransformerTower(**options)


def test_refuses_texts_that_it_cannot_read():
    with pytest.raises(ValueError, match="a caption is empty; give every image one"):
        tower().tokenize(["a", "  "])
    with pytest.raises(
        ValueError, match=r"'aaaa.*'\.\.\. has 49 tokens with its marks, but TransformerTower reads at most"
    ):
        tower().tokenize(["a" * 47])
    assert tower().tokenize(["a" * 46]).ids.shape == (1, 48)
