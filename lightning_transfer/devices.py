"""Devices, for commands that run without a Trainer."""

import torch


def find_device(name: str) -> torch.device:
    """Look a device up.

    Args:
        name: such as cuda:0; auto takes a GPU if there is one.

    Raises:
        ValueError: if it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"device={name!r} is not there: {str(error).splitlines()[0]}; use cpu or auto") from error
