"""The types of data. The table of types is what decides loss, activation, metrics and decoding;
a model's bundle names its types by their keys here."""

from collections.abc import Mapping

from seedbed_sdk.blocks.base import (
    Block,
    Classification,
    Encoded,
    Field,
    InputBlock,
    ItemProblem,
    Prediction,
    Regression,
    TargetBlock,
)
from seedbed_sdk.blocks.category import CategoryBlock
from seedbed_sdk.blocks.image import ImageBlock
from seedbed_sdk.blocks.regression import RegressionBlock
from seedbed_sdk.blocks.tabular import TabularBlock

INPUT_BLOCKS: Mapping[str, type[InputBlock]] = {
    block.type: block for block in (TabularBlock, ImageBlock)
}
TARGET_BLOCKS: Mapping[str, type[TargetBlock]] = {
    block.type: block for block in (CategoryBlock, RegressionBlock)
}

__all__ = [
    "INPUT_BLOCKS",
    "TARGET_BLOCKS",
    "Block",
    "CategoryBlock",
    "Classification",
    "Encoded",
    "Field",
    "ImageBlock",
    "InputBlock",
    "ItemProblem",
    "Prediction",
    "Regression",
    "RegressionBlock",
    "TabularBlock",
    "TargetBlock",
]
