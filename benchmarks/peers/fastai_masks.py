"""fastai on masks: `unet_learner` over EfficientNet-Lite0 with ImageNet's weights, the same that
seedbed has (fastai's own would be downloaded), without its last convolution, `aug_transforms`, and
`fine_tune` with as many epochs as fit, as in its CamVid example, which begins at about half the
size too; what is void is not learned."""

import common
import numpy as np
import torch
from common import known, seed
from fastai.vision.all import (
    CrossEntropyLossFlat,
    Normalize,
    SegmentationDataLoaders,
    aug_transforms,
    get_image_files,
    imagenet_stats,
    set_seed,
    unet_learner,
)
from fastai_loop import fine_tune
from lite import lite0
from PIL import Image
from scores import mean_iou
from torch import nn
from torch.nn import functional as F

RATE, END_SHARE, SIZE = 2e-3, 0.95, (96, 128)


def body(pretrained: bool = True) -> nn.Sequential:
    """Without the convolution to 1,280 channels, which are too many to go up from."""
    children = list(lite0(pretrained))
    return nn.Sequential(*children[:-2], children[-1])


def mask_of(picture):
    return picture.parent.parent / "masks" / f"{picture.stem}.png"


torch.set_num_threads(2)
common.start()
set_seed(seed, reproducible=True)
files = get_image_files(common.train / "images").sorted()
classes = known["void"]
dls = SegmentationDataLoaders.from_label_func(
    common.train,
    files,
    mask_of,
    codes=np.arange(classes),
    valid_pct=0.1,
    seed=seed,
    batch_tfms=[*aug_transforms(size=SIZE), Normalize.from_stats(*imagenet_stats)],
    bs=8,
    num_workers=0,
)
learn = unet_learner(
    dls,
    body,
    n_out=classes,
    loss_func=CrossEntropyLossFlat(axis=1, ignore_index=known["void"]),
)
fine_tune(learn, RATE, END_SHARE)
seconds = common.spent()
shown = get_image_files(common.test / "images").sorted()
with learn.no_bar():
    outputs, _ = learn.get_preds(dl=dls.test_dl(shown))
truth = np.stack([np.asarray(Image.open(mask_of(file))) for file in shown])
said = F.interpolate(outputs, size=truth.shape[1:], mode="bilinear").argmax(1).numpy()
common.answer(mean_iou(truth, said, known["void"], classes), seconds, "fastai")
