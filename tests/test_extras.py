import json
import sys

import pytest

from lightning_transfer.extras import load_extra


def test_the_first_of_the_packages_comes_back():
    assert load_extra("x", "this needs json", "json", "csv") is json


def test_what_is_missing_is_said_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "csv", None)
    with pytest.raises(ModuleNotFoundError, match=r'this needs csv: pip install "lightning_transfer\[x\]" \(.*csv'):
        load_extra("x", "this needs csv", "json", "csv")
