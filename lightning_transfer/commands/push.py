"""`push`: a checkpoint on the Hugging Face hub, where timm and `TimmBackbone` find it."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi

from lightning_transfer.backbones.weights import offline_if_unreachable
from lightning_transfer.data.base import ImageData
from lightning_transfer.exports import TimmExport, write_checked
from lightning_transfer.exports.checkpoint import open_checkpoint


def push(
    ckpt_path: str,
    repo: str,
    private: bool = False,
    images: str | None = None,
    num_images: int = 32,
    tolerance: float = 0.02,
    data: ImageData | None = None,
) -> None:
    """Put a checkpoint on the Hugging Face hub in timm's layout, after comparing the two on images.

    Args:
        ckpt_path: checkpoint written by `fit`, with a timm backbone and a linear head.
        repo: USER/NAME on the hub; it is made if it is not there.
        private: whether a repository that is made is private.
        images: a folder of images to compare on; those of the checkpoint's test split if not given.
        num_images: how many images are compared, at least 1.
        tolerance: largest difference of a probability that is accepted, as a share of how much the images' probabilities vary.
        data: how images are prepared, for a checkpoint that does not say it.
    """
    api = HfApi(library_name="lightning_transfer")
    try:
        with offline_if_unreachable():
            api.whoami()  # before the work: is there a hub, and does it know us?
    except Exception as error:  # the hub's client and its transport raise a dozen types
        raise _refused(repo, error) from error
    model, compared = open_checkpoint(ckpt_path, images, num_images, data)
    with TemporaryDirectory() as place:
        folder = Path(place) / "model"
        comparison = write_checked(TimmExport(), model, folder, compared, tolerance)
        url = _upload(api, folder, repo, private)
    print(f'{url}: {comparison}; timm.create_model("hf-hub:{repo}", pretrained=True) loads it')


def _upload(api: HfApi, folder: Path, repo: str, private: bool) -> str:
    try:
        made = api.create_repo(repo, private=private, exist_ok=True)
        if not api.file_exists(made.repo_id, "README.md"):  # a card that somebody wrote is better than ours
            (folder / "README.md").write_text(_card(folder, made.repo_id), encoding="utf-8")
        api.upload_folder(
            repo_id=made.repo_id, folder_path=folder, commit_message="Upload a model of lightning_transfer"
        )
    except Exception as error:  # as above
        raise _refused(repo, error) from error
    return str(made)


def _refused(repo: str, error: Exception) -> ValueError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ValueError(
        f"repo={repo!r} cannot be pushed to: {reason} (a token that may write comes from `hf auth login` or HF_TOKEN; "
        "without network, `lightning-transfer export --format timm` writes the same folder)"
    )


def _card(folder: Path, repo: str) -> str:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = config["label_names"]
    kind, learned = "pipeline_tag: image-classification\ntags:\n- image-classification", "classes"
    if config["problem_type"] == "regression":  # the hub has no word for it
        kind, learned = "tags:\n- image-regression", "values"
    return f"""---
library_name: timm
{kind}
- timm
---
# {repo.rpartition("/")[2]}

{config["architecture"]}, adapted by transfer learning to {len(names)} {learned}: {", ".join(names)}.

```python
import timm

model = timm.create_model("hf-hub:{repo}", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
```
"""
