"""The types of data. The table of types is what decides loss, activation, metrics and decoding;
a model's bundle names its types by their keys here."""

from collections.abc import Mapping

from seedbed_sdk.blocks.audio import AudioBlock
from seedbed_sdk.blocks.base import (
    Block,
    Classification,
    Encoded,
    Field,
    InputBlock,
    ItemProblem,
    MultiLabel,
    MultiTarget,
    Prediction,
    Ranking,
    Regression,
    Segmentation,
    TargetBlock,
)
from seedbed_sdk.blocks.category import CategoryBlock
from seedbed_sdk.blocks.image import ImageBlock
from seedbed_sdk.blocks.interaction import InteractionBlock
from seedbed_sdk.blocks.mask import MaskBlock
from seedbed_sdk.blocks.multi_category import MultiCategoryBlock
from seedbed_sdk.blocks.multi_target import MultiTargetBlock
from seedbed_sdk.blocks.rating import RatingBlock
from seedbed_sdk.blocks.regression import RegressionBlock
from seedbed_sdk.blocks.series import SeriesBlock
from seedbed_sdk.blocks.tabular import TabularBlock
from seedbed_sdk.blocks.text import TextBlock
from seedbed_sdk.blocks.user_item import UserItemBlock

INPUT_BLOCKS: Mapping[str, type[InputBlock]] = {
    block.type: block
    for block in (TabularBlock, ImageBlock, UserItemBlock, TextBlock, AudioBlock, SeriesBlock)
}
TARGET_BLOCKS: Mapping[str, type[TargetBlock]] = {
    block.type: block
    for block in (
        CategoryBlock,
        RegressionBlock,
        MultiCategoryBlock,
        MaskBlock,
        MultiTargetBlock,
        RatingBlock,
        InteractionBlock,
    )
}

__all__ = [
    "INPUT_BLOCKS",
    "TARGET_BLOCKS",
    "AudioBlock",
    "Block",
    "CategoryBlock",
    "Classification",
    "Encoded",
    "Field",
    "ImageBlock",
    "InputBlock",
    "InteractionBlock",
    "ItemProblem",
    "MaskBlock",
    "MultiCategoryBlock",
    "MultiLabel",
    "MultiTarget",
    "MultiTargetBlock",
    "Prediction",
    "Ranking",
    "RatingBlock",
    "Regression",
    "RegressionBlock",
    "Segmentation",
    "SeriesBlock",
    "TabularBlock",
    "TargetBlock",
    "TextBlock",
    "UserItemBlock",
]
