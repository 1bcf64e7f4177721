"""What one writes by hand for photographs: the features of a pretrained network are computed once
and Optuna finds the best head on them. Where at least three epochs fit, the whole network is
trained from there with crops and flips, and what is better on a tenth of the training pictures
stays; else the features are of a larger size, and of the mirrored pictures too."""

import time
from collections.abc import Callable
from functools import partial

import common
import lite
import numpy as np
import optuna
import torch
import torch.nn.functional as F
from common import known, left, seed
from PIL import Image
from scores import accuracy
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelEncoder
from torch import nn
from training import fit, predict

TUNING_SHARE, FEATURES_SHARE, END_SHARE = 0.55, 0.6, 0.93
BATCH, AT_ONCE = 32, 64
LEAST_EPOCHS, LEAST_HEAD_SECONDS = 3.0, 1.0

torch.set_num_threads(2)
torch.manual_seed(seed)
optuna.logging.set_verbosity(optuna.logging.ERROR)
common.start()


def read(files: list) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(Image.open(f).convert("RGB")) for f in files]))


def resized(pictures: torch.Tensor, size: int) -> torch.Tensor:
    x = lite.normal(pictures).contiguous(memory_format=torch.channels_last)
    return F.interpolate(x, size=(size, size), mode="bicubic", antialias=size < x.shape[2])


def augment(pictures: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Random crops of pictures that were padded by an eighth, half of them mirrored."""
    side = pictures.shape[1]
    pad = side // 8
    x = F.pad(pictures.permute(0, 3, 1, 2), (pad,) * 4).permute(0, 2, 3, 1)
    shifts = torch.randint(0, 2 * pad + 1, (len(x), 2)).tolist()
    x = torch.stack([p[a : a + side, b : b + side] for p, (a, b) in zip(x, shifts, strict=True)])
    if known["flip"]:
        mirrored = torch.rand(len(x)) < 0.5
        x[mirrored] = x[mirrored].flip(2)
    return resized(x, best_size), y


def evaluated(network: nn.Module, pictures: torch.Tensor, size: int) -> torch.Tensor:
    return torch.cat([predict(network, resized(part, size)) for part in pictures.split(AT_ONCE)])


files, labels = common.class_folders(common.train)
encoder = LabelEncoder().fit(labels)
pictures, y = read(files), torch.from_numpy(encoder.transform(labels))
rows, valid = train_test_split(np.arange(len(y)), test_size=0.1, random_state=seed, stratify=y)
body = lite.lite0().to(memory_format=torch.channels_last).eval().append(nn.Flatten())


def seconds_of(work: Callable[[], object]) -> float:
    """What the work takes when it has been done before."""
    work()
    clock = time.monotonic()
    work()
    return time.monotonic() - clock


def step() -> None:
    x, _ = augment(pictures[:BATCH], y[:BATCH])
    body(x).sum().backward()


# What is done depends on how fast this machine is.
best_size = sorted(known["sizes"])[-2]
epoch_seconds = seconds_of(step) * 1.1 * len(rows) / BATCH
tuning = left(TUNING_SHARE) > LEAST_EPOCHS * epoch_seconds
if not tuning:
    for best_size in sorted(known["sizes"], reverse=True):
        batch = seconds_of(partial(evaluated, body, pictures[:AT_ONCE], best_size))
        if 2 * batch * len(y) / AT_ONCE < left(FEATURES_SHARE):
            break
heads_share = 1 - TUNING_SHARE if tuning else END_SHARE
features = evaluated(body, pictures, best_size)
copies = 1
if known["flip"] and not tuning and left(FEATURES_SHARE) > common.spent() * 0.8:
    features, copies = torch.cat([features, evaluated(body, pictures.flip(2), best_size)]), 2
goals = y.repeat(copies)
mean, std = features.mean(0), features.std(0) + 1e-6
features = (features - mean) / std

best: dict = {"score": -1.0}


def head_of(settings: dict, chosen: np.ndarray) -> tuple[nn.Linear, bool]:
    torch.manual_seed(seed)
    chosen = np.concatenate([chosen + copy * len(y) for copy in range(copies)])
    head = nn.Linear(lite.FEATURES, len(encoder.classes_))
    nn.init.zeros_(head.weight)
    loss = nn.CrossEntropyLoss(label_smoothing=settings["smoothing"])
    network = nn.Sequential(nn.Dropout(settings["dropout"]), head)
    done = fit(
        network,
        features[chosen],
        goals[chosen],
        epochs=settings["epochs"],
        rate=settings["rate"],
        decay=settings["decay"],
        batch=128,
        until=time.monotonic() + max(left(), LEAST_HEAD_SECONDS),
        loss=loss,
    )
    return head, done


def objective(trial: optuna.Trial) -> float:
    settings = {
        "rate": trial.suggest_float("rate", 1e-4, 1e-2, log=True),
        "decay": trial.suggest_float("decay", 1e-3, 1.0, log=True),
        "epochs": trial.suggest_int("epochs", 5, 40, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.7),
        "smoothing": trial.suggest_float("smoothing", 0.0, 0.2),
    }
    head, done = head_of(settings, rows)
    if not done and best["score"] >= 0:
        raise optuna.TrialPruned
    said = predict(head, features[valid]).argmax(1)
    score = accuracy(y[valid].numpy(), said.numpy())
    if score > best["score"]:
        best.update(score=score, settings=settings, head=head)
    return score


study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
study.optimize(objective, timeout=max(0.1, left(heads_share)))


def whole(head: nn.Linear) -> nn.Sequential:
    """The network that normalises the features itself: weights and bias take that over."""
    folded = nn.Linear(lite.FEATURES, len(encoder.classes_))
    with torch.no_grad():
        folded.weight.copy_(head.weight / std)
        folded.bias.copy_(head.bias - (head.weight * (mean / std)).sum(1))
    return nn.Sequential(body, nn.Dropout(0.2), folded)


final_head, _ = head_of(best["settings"], np.arange(len(y)))
tuned = False
if tuning:
    kept_state = {name: value.clone() for name, value in body.state_dict().items()}
    network = whole(best["head"])
    network[1].train()  # batch norms keep the statistics of ImageNet
    epochs = left(END_SHARE) / epoch_seconds
    fit(
        network,
        pictures[rows],
        y[rows],
        epochs=epochs,
        rate=1e-3,
        decay=0.05,
        batch=BATCH,
        until=time.monotonic() + left(END_SHARE + 0.03),
        loss=nn.CrossEntropyLoss(label_smoothing=0.1),
        augment=augment,
    )
    said = evaluated(network, pictures[valid], best_size).argmax(1)
    tuned = accuracy(y[valid].numpy(), said.numpy()) >= best["score"]
    if not tuned:
        body.load_state_dict(kept_state)
if not tuned:
    network = whole(final_head)
seconds = common.spent()
files, labels = common.class_folders(common.test)
shown = read(files)
outputs = evaluated(network, shown, best_size).softmax(1)
if known["flip"]:
    outputs += evaluated(network, shown.flip(2), best_size).softmax(1)
said = encoder.inverse_transform(outputs.argmax(1).numpy())
common.answer(accuracy(np.array(labels), said), seconds, "optuna")
