from functools import partial

import pytest
import torch
from jsonargparse import ArgumentParser

from lightning_transfer import fewshot
from lightning_transfer.fewshot import (
    BDCSPN,
    PTMAP,
    TIM,
    TIMADM,
    BaselinePlusPlus,
    FewShotRule,
    LaplacianShot,
    LogisticRule,
    MatchingRule,
    NearestNeighbour,
    PrototypeRule,
    RidgeRule,
    SimpleShot,
)
from lightning_transfer.parts import describe

RULES = {
    "prototype": PrototypeRule,
    "prototype cosine": partial(PrototypeRule, "cosine", 10.0),
    "matching": MatchingRule,
    "simple shot": partial(SimpleShot, "L2N"),
    "simple shot centred": SimpleShot,
    "ridge": RidgeRule,
    "nearest": NearestNeighbour,
    "nearest 3": partial(NearestNeighbour, 3, "squared_euclid"),
    "bd-cspn": BDCSPN,
    "laplacian": LaplacianShot,
    "tim": partial(TIM, steps=30, lr=1e-2),
    "tim-adm": partial(TIMADM, steps=30),
    "pt-map": PTMAP,
    "baseline++": partial(BaselinePlusPlus, steps=20),
    "baseline": partial(BaselinePlusPlus, "linear"),
    "logistic": LogisticRule,
}


@pytest.fixture(params=list(RULES))
def rule(request):
    made = RULES[request.param]()
    if made.needs_base:
        made.prepare(torch.randn(40, 16), [])
    return made


def shuffled(task, seed=1):
    """The support in another order, within each episode."""
    order = torch.randperm(task.support.shape[1], generator=torch.Generator().manual_seed(seed))
    return task.support[:, order], task.target[:, order]


def test_tells_clusters_and_leaves_what_it_is_given(rule, task):
    of = task(noise=0.3)
    before = [part.clone() for part in of.parts()]
    logits = rule(*of.parts())
    assert logits.shape == (3, 20, 4)
    assert (logits.argmax(dim=-1) == of.query_target).float().mean() > 0.95
    assert all(torch.equal(a, b) for a, b in zip(before, of.parts(), strict=True))


def test_twice_is_once_bit_for_bit_with_other_episodes_between(rule, task):
    of = task()
    first = rule(*of.parts())
    rule(*task(seed=5, ways=3).parts())
    assert torch.equal(rule(*of.parts()), first)


def test_episodes_at_once_are_each_by_itself(rule, task):
    of = task()
    each = torch.stack([rule(*one) for one in of.each()])
    torch.testing.assert_close(rule(*of.parts()), each, atol=1e-5, rtol=1e-4)


def test_the_order_of_the_support_does_not_count(rule, task):
    of = task()
    torch.testing.assert_close(rule(*shuffled(of), of.query), rule(*of.parts()), atol=1e-4, rtol=1e-4)


def test_queries_are_answered_where_they_stand(rule, task):
    of = task()
    order = torch.randperm(of.query.shape[1])
    turned = rule(of.support, of.target, of.query[:, order])
    torch.testing.assert_close(turned, rule(*of.parts())[:, order], atol=1e-4, rtol=1e-4)


def test_permuted_ways_permute_the_logits(rule, task):
    of, order = task(), torch.tensor([2, 0, 3, 1])
    turned = rule(of.support, order[of.target], of.query)
    torch.testing.assert_close(turned[..., order], rule(*of.parts()), atol=1e-4, rtol=1e-4)


def test_ways_may_have_different_numbers_of_examples(rule, task):
    of = task(noise=0.3)
    kept = [0, 1, 2, 3, 4, 8]  # of ways 0, 1, 2, 3, 0, 0
    logits = rule(of.support[:, kept], of.target[:, kept], of.query)
    assert logits.isfinite().all()
    assert (logits.argmax(dim=-1) == of.query_target).float().mean() > 0.6  # some rules favour a way that is shown more


def test_queries_answer_alone_unless_the_rule_is_transductive(rule, task):
    of = task()
    alone = rule(of.support, of.target, of.query[:, :2])
    whole = rule(*of.parts())[:, :2]
    assert torch.allclose(alone, whole, atol=1e-5) != rule.transductive


def test_shuffled_labels_are_chance(rule, task):
    of = task(episodes=200, ways=5, shots=1, queries=4, width=16, noise=0.3)
    draw = torch.Generator().manual_seed(3)
    target = torch.stack([torch.randperm(5, generator=draw) for _ in range(200)])
    right = (rule(of.support, target, of.query).argmax(dim=-1) == of.query_target).float().mean()
    assert abs(right - 0.2) < 0.08  # 200 permutations: a standard deviation of 1.3 %


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
def test_half_precision_is_finite(rule, task, dtype):
    of = task(noise=0.3)
    logits = rule((100 * of.support).to(dtype), of.target, (100 * of.query).to(dtype))
    assert logits.dtype is torch.float32
    assert logits.isfinite().all()
    assert (logits.argmax(dim=-1) == of.query_target).float().mean() > 0.9


def test_autocast_changes_nothing(rule, task):
    of = task()
    with torch.autocast("cpu", torch.bfloat16):
        logits = rule(*of.parts())
    assert torch.equal(logits, rule(*of.parts()))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_answers_alike_where_nobody_may_differentiate(rule, task, mode):
    expected = rule(*task().parts())
    with mode():
        of = task()
        assert torch.equal(rule(*of.parts()), expected.detach())


def test_equal_embeddings_are_no_trouble(rule, task):
    of = task()
    zeros = torch.zeros_like
    assert rule(zeros(of.support), of.target, zeros(of.query)).isfinite().all()


def test_a_checkpoint_can_rebuild_it_and_has_no_state_of_episodes(rule, task):
    before = {name: value.clone() for name, value in rule.state_dict().items()}
    rule(*task().parts())
    assert all(torch.equal(value, before[name]) for name, value in rule.state_dict().items())
    assert describe(rule)["init_args"].keys() == rule.init_args.keys()


def test_says_what_it_supposes():
    made = {name: make() for name, make in RULES.items()}
    transductive = {name for name, rule in made.items() if rule.transductive}
    assert transductive == {"bd-cspn", "laplacian", "tim", "tim-adm", "pt-map"}
    assert {name for name, rule in made.items() if rule.assumes_balance} == transductive
    assert not LaplacianShot(rectify=False).assumes_balance
    assert {name for name, rule in made.items() if rule.needs_base} == {"simple shot centred"}
    assert TIM(transform="CL2N").needs_base


def test_refuses_what_does_not_belong_together(rule, task):
    of = task()
    support, target, query = of.parts()
    with pytest.raises(ValueError, match="support's embeddings have 16 entries and the queries' 15"):
        rule(support, target, query[..., 1:])
    with pytest.raises(ValueError, match="target is torch.float32; the ways are numbered by integers"):
        rule(support, target.float(), query)
    with pytest.raises(ValueError, match="of as many episodes"):
        rule(support, target[:, 1:], query)
    with pytest.raises(ValueError, match="of as many episodes"):
        rule(support, target, query[:2])
    with pytest.raises(ValueError, match=r"must be embeddings \(E, S, D\)"):
        rule(support.unsqueeze(0), target, query)


def test_refuses_ways_that_cannot_be_told(rule, task):
    support, target, query = task().parts()
    gap = target.clone()
    gap[1][gap[1] == 2] = 3
    with pytest.raises(ValueError, match="way 2 of episode 1 has no image in the support; give each of its 4 ways"):
        rule(support, gap, query)
    with pytest.raises(ValueError, match="target=-1 of the support: the ways are numbered from 0"):
        rule(support, target - 1, query)
    with pytest.raises(ValueError, match="the support holds no image"):
        rule(support[:, :0], target[:, :0], query)
    if rule.least_ways == 1:
        assert rule(support, 0 * target, query).shape == (3, 20, 1)
    else:
        with pytest.raises(ValueError, match="the support shows one way only, and"):
            rule(support, 0 * target, query)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PrototypeRule("euclid"), "distance='euclid' of PrototypeRule must be squared_euclid or cosine"),
        (lambda: PrototypeRule(scale=0), "scale=0 of PrototypeRule must be above 0; 1 is common"),
        (lambda: MatchingRule(scale=-1.0), "scale=-1.0 of MatchingRule"),
        (lambda: SimpleShot("L2"), "transform='L2' of SimpleShot must be UN, L2N or CL2N"),
        (lambda: SimpleShot(scale=0), "scale=0 of SimpleShot"),
        (lambda: RidgeRule(strength=0), "strength=0 of RidgeRule must be above 0"),
        (lambda: RidgeRule(scale=0), "scale=0 of RidgeRule"),
        (lambda: NearestNeighbour(0), "k=0 of NearestNeighbour must be at least 1"),
        (lambda: BDCSPN(scale=0), "scale=0 of BDCSPN"),
        (lambda: LaplacianShot(strength=-1), "strength=-1 of LaplacianShot must be at least 0"),
        (lambda: LaplacianShot(neighbours=0), "neighbours=0 of LaplacianShot"),
        (lambda: LaplacianShot(steps=0), "steps=0 of LaplacianShot"),
        (lambda: LaplacianShot(scale=0), "scale=0 of LaplacianShot"),
        (lambda: TIM(support_weight=-1), "support_weight=-1 of TIM must be at least 0"),
        (lambda: TIM(conditional_weight=-1), "conditional_weight=-1 of TIM"),
        (lambda: TIM(lr=0), "lr=0 of TIM must be above 0"),
        (lambda: TIM(distance="angle"), "distance='angle' of TIM"),
        (lambda: TIMADM(support_weight=0), "support_weight=0 of TIMADM must be above 0"),
        (lambda: TIMADM(steps=0), "steps=0 of TIMADM"),
        (lambda: PTMAP(power=0), "power=0 of PTMAP"),
        (lambda: PTMAP(sharpness=0), "sharpness=0 of PTMAP"),
        (lambda: PTMAP(momentum=0), "momentum=0 of PTMAP must be above 0"),
        (lambda: PTMAP(momentum=1.5), "momentum=1.5 of PTMAP must be at most 1"),
        (lambda: PTMAP(steps=0), "steps=0 of PTMAP"),
        (lambda: BaselinePlusPlus("mlp"), "classifier='mlp' of BaselinePlusPlus must be cosine or linear"),
        (lambda: BaselinePlusPlus(steps=0), "steps=0 of BaselinePlusPlus"),
        (lambda: BaselinePlusPlus(scale=0), "scale=0 of BaselinePlusPlus"),
        (lambda: LogisticRule(c=0), "c=0 of LogisticRule must be above 0; 1 is common"),
        (lambda: LogisticRule(steps=0), "steps=0 of LogisticRule"),
    ],
)
def test_refuses_values_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", [name for name in fewshot.__all__ if name not in ("FewShotRule", "TipAdapterRule")])
def test_a_configuration_names_it_by_its_class(name):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--rule", type=FewShotRule)
    made = parser.instantiate_classes(parser.parse_args([f"--rule={name}"])).rule
    assert type(made) is getattr(fewshot, name)
    assert made.init_args == type(made)().init_args


def test_a_configuration_names_an_optimiser():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--rule", type=FewShotRule)
    typed = ["--rule=BaselinePlusPlus", "--rule.optimizer=torch.optim.Adam", "--rule.optimizer.lr=0.5"]
    made = parser.instantiate_classes(parser.parse_args(typed)).rule
    assert made.optimizer([torch.nn.Parameter(torch.zeros(1))]).defaults["lr"] == 0.5
    assert describe(made)["init_args"]["optimizer"]["init_args"]["lr"] == 0.5
