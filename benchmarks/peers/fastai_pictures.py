"""fastai on pictures: `vision_learner` with EfficientNet-Lite0's ImageNet weights, the same that
seedbed has (fastai's own would be downloaded), `aug_transforms`, and `fine_tune` with as many
epochs as fit; test-time augmentation. A tenth of the pictures is held out, as its users do."""

import common
import numpy as np
import torch
from common import known, seed
from fastai.vision.all import (
    ImageDataLoaders,
    Normalize,
    Resize,
    accuracy,
    aug_transforms,
    imagenet_stats,
    set_seed,
    vision_learner,
)
from fastai_loop import batch_seconds, fine_tune
from lite import lite0
from scores import accuracy as share_right

RATE, END_SHARE, LEAST_EPOCHS = 2e-3, 0.96, 3

torch.set_num_threads(2)
common.start()
set_seed(seed, reproducible=True)
for size in sorted(known["sizes"], reverse=True):
    dls = ImageDataLoaders.from_folder(
        common.train,
        valid_pct=0.1,
        seed=seed,
        item_tfms=Resize(size),
        batch_tfms=[*aug_transforms(do_flip=known["flip"]), Normalize.from_stats(*imagenet_stats)],
        bs=64,
        num_workers=0,
    )
    learn = vision_learner(dls, lite0, metrics=accuracy)
    learn.unfreeze()
    # The largest size at which enough epochs fit.
    if batch_seconds(learn) * len(dls.train) * LEAST_EPOCHS < common.left(END_SHARE):
        break
fine_tune(learn, RATE, END_SHARE)
seconds = common.spent()
files, labels = common.class_folders(common.test)
with learn.no_bar():
    outputs, _ = learn.tta(dl=dls.test_dl(files))
said = np.array(dls.vocab)[outputs.argmax(1).numpy()]
common.answer(share_right(np.array(labels), said), seconds, "fastai")
