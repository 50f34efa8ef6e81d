"""Datamodules: batches are `ImageBatch`, images in [0, 1], or `TextBatch`; classes are known before `setup`."""

from lightning_transfer.data.base import ImageData
from lightning_transfer.data.class_subset import ClassSubsetData
from lightning_transfer.data.contrastive_transform import ContrastiveTransform
from lightning_transfer.data.corruptions import Corruption
from lightning_transfer.data.csv import CsvData
from lightning_transfer.data.csv_text import CsvTextData
from lightning_transfer.data.digits import DigitsData
from lightning_transfer.data.emoji import EmojiData
from lightning_transfer.data.episodes import EpisodeData
from lightning_transfer.data.fake import FakeData
from lightning_transfer.data.folder import FolderData
from lightning_transfer.data.gsm8k import Gsm8kData
from lightning_transfer.data.hub_text import HubTextData
from lightning_transfer.data.nli import NliData
from lightning_transfer.data.omniglot import OmniglotData
from lightning_transfer.data.patterns import PatternData
from lightning_transfer.data.reviews import ReviewsData
from lightning_transfer.data.spec_augment import SpecAugment
from lightning_transfer.data.spectrogram import LogMel
from lightning_transfer.data.spoken_digits import SpokenDigitsData
from lightning_transfer.data.spoken_stamps import SpokenStampsData
from lightning_transfer.data.stamps import StampsData
from lightning_transfer.data.text import TextData
from lightning_transfer.data.torchvision import TorchvisionData
from lightning_transfer.data.transforms import EvalTransform, ShiftTransform, TrainTransform, WholeTransform
from lightning_transfer.data.unlabelled import UnlabelledData
from lightning_transfer.data.word_problems import WordProblemData

__all__ = [
    "ClassSubsetData",
    "ContrastiveTransform",
    "Corruption",
    "CsvData",
    "CsvTextData",
    "DigitsData",
    "EmojiData",
    "EpisodeData",
    "EvalTransform",
    "FakeData",
    "FolderData",
    "Gsm8kData",
    "HubTextData",
    "ImageData",
    "LogMel",
    "NliData",
    "OmniglotData",
    "PatternData",
    "ReviewsData",
    "ShiftTransform",
    "SpecAugment",
    "SpokenDigitsData",
    "SpokenStampsData",
    "StampsData",
    "TextData",
    "TorchvisionData",
    "TrainTransform",
    "UnlabelledData",
    "WholeTransform",
    "WordProblemData",
]
