from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lightning_transfer import load_adapter
from lightning_transfer.adapter_file import base_digest, digest, write_adapter


def test_a_digest_is_of_kind_shape_and_values():
    value = torch.tensor([1.0, 2.0])
    assert digest(value) == sha256(b"torch.float32(2,)" + value.numpy().tobytes()).hexdigest()
    others = [value.double(), value[None], value + 1e-6, value.bfloat16()]
    assert len({digest(t) for t in [value, *others]}) == 5
    assert digest(torch.tensor(3)) != digest(torch.tensor(4))
    image = torch.rand(2, 3, 4, 5)
    assert digest(image) == digest(image.contiguous(memory_format=torch.channels_last))


def test_a_base_is_all_but_the_adapter_in_any_order():
    digests = {"a": "1", "b": "2", "c": "3"}
    assert base_digest(digests, ["c"]) == base_digest({"b": "2", "a": "1"}, [])
    assert base_digest(digests, []) != base_digest(digests, ["c"])
    assert base_digest({"a": "1", "b": "1"}, []) != base_digest({"a": "1", "c": "1"}, [])


def test_a_failure_leaves_no_file(monkeypatch):
    write = Path.write_bytes

    def broken(path, content):
        write(path, content[: len(content) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", broken)
    with pytest.raises(OSError, match="no space"):
        write_adapter(Path("x.safetensors"), {"a": torch.zeros(1)}, ["a"], {}, "")
    assert list(Path().iterdir()) == []


def test_refuses_what_is_no_adapter():
    with pytest.raises(FileNotFoundError, match=r"nope\.safetensors"):
        load_adapter("nope.safetensors")
    Path("torn.safetensors").write_bytes(b"\x10\x00")
    with pytest.raises(ValueError, match=r"torn\.safetensors.*cannot be read"):
        load_adapter("torn.safetensors")
    save_file({"a": torch.zeros(1)}, "bare.safetensors")
    with pytest.raises(ValueError, match=r"bare\.safetensors.*is no adapter"):
        load_adapter("bare.safetensors")


def test_refuses_classes_that_are_not_trusted():
    hparams = {"_class_path": "subprocess.Popen", "args": ["true"]}
    write_adapter(Path("x.safetensors"), {"a": torch.zeros(1)}, ["a"], hparams, "")
    with pytest.raises(ValueError, match=r"subprocess\.Popen.*LIGHTNING_TRANSFER_TRUST"):
        load_adapter("x.safetensors")
