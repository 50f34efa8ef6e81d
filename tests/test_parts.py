from functools import partial

import pytest
from torch.optim import SGD

from lightning_transfer.data import TrainTransform
from lightning_transfer.losses.supervised import CrossEntropy, Focal
from lightning_transfer.optim import Optim, ParamGroups
from lightning_transfer.parts import UndescribableError, describe


def test_records_given_arguments_and_defaults():
    assert Focal(3.0).init_args == {"gamma": 3.0}
    assert CrossEntropy().init_args == {"label_smoothing": 0.0}


def test_describes_parts_factories_and_dataclasses():
    described = describe(Optim(partial(SGD, lr=0.1), schedule=None, groups=ParamGroups(2)))
    assert described == {
        "optimizer": {"class_path": "torch.optim.sgd.SGD", "init_args": {"lr": 0.1}},
        "schedule": None,
        "scaling": "none",
        "groups": {
            "class_path": "lightning_transfer.optim.groups.ParamGroups",
            "init_args": ParamGroups(2).init_args,
        },
    }
    assert describe(TrainTransform)["class_path"].endswith("TrainTransform")


def test_says_where_the_undescribable_stands():
    with pytest.raises(UndescribableError, match=r"optim\.optimizer=builtins\.function"):
        describe(Optim(lambda groups: SGD(groups, lr=1)), "optim")
