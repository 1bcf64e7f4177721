"""What one writes by hand for photographs: the features of a pretrained network are computed once,
Optuna finds the best head on them, and what time is left goes into training the whole network from
there with crops and flips; what is better on a tenth of the training pictures stays."""

import time

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

FEATURES_SHARE, HEADS_SHARE, END_SHARE = 0.3, 0.42, 0.93
BATCH = 32
LEAST_EPOCHS = 1.0

torch.set_num_threads(2)
torch.manual_seed(seed)
optuna.logging.set_verbosity(optuna.logging.ERROR)
common.start()


def read(files: list) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(Image.open(f).convert("RGB")) for f in files]))


def resized(pictures: torch.Tensor) -> torch.Tensor:
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
    return resized(x), y


def evaluated(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    return torch.cat([predict(network, resized(part)) for part in pictures.split(64)])


files, labels = common.class_folders(common.train)
encoder = LabelEncoder().fit(labels)
pictures, y = read(files), torch.from_numpy(encoder.transform(labels))
rows, valid = train_test_split(np.arange(len(y)), test_size=0.1, random_state=seed, stratify=y)
body = lite.lite0().to(memory_format=torch.channels_last).eval().append(nn.Flatten())

# The largest size at which the features of all pictures are there in time.
for size in sorted(known["sizes"], reverse=True):
    clock = time.monotonic()
    evaluated(body, pictures[:64])
    if (time.monotonic() - clock) * len(y) / 64 < left(FEATURES_SHARE):
        break
features = evaluated(body, pictures)
mean, std = features.mean(0), features.std(0) + 1e-6
features = (features - mean) / std

best: dict = {"score": -1.0}


def head_of(settings: dict, chosen: np.ndarray) -> tuple[nn.Linear, bool]:
    torch.manual_seed(seed)
    head = nn.Linear(lite.FEATURES, len(encoder.classes_))
    nn.init.zeros_(head.weight)
    loss = nn.CrossEntropyLoss(label_smoothing=settings["smoothing"])
    network = nn.Sequential(nn.Dropout(settings["dropout"]), head)
    done = fit(
        network,
        features[chosen],
        y[chosen],
        epochs=settings["epochs"],
        rate=settings["rate"],
        decay=settings["decay"],
        batch=128,
        until=time.monotonic() + left(),
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
study.optimize(objective, timeout=max(0.1, left(HEADS_SHARE)))


def whole(head: nn.Linear) -> nn.Sequential:
    """The network that normalises the features itself: weights and bias take that over."""
    folded = nn.Linear(lite.FEATURES, len(encoder.classes_))
    with torch.no_grad():
        folded.weight.copy_(head.weight / std)
        folded.bias.copy_(head.bias - (head.weight * (mean / std)).sum(1))
    return nn.Sequential(body, nn.Dropout(0.2), folded)


def step_seconds(network: nn.Module) -> float:
    times = []
    for _ in range(3):
        clock = time.monotonic()
        x, goals = augment(pictures[:BATCH], y[:BATCH])
        F.cross_entropy(network(x), goals).backward()
        times.append(time.monotonic() - clock)
    network.zero_grad()
    return sorted(times)[1]


kept_state = {name: value.clone() for name, value in body.state_dict().items()}
network = whole(best["head"])
network[1].train()  # batch norms keep the statistics of ImageNet
epochs = left(END_SHARE) * BATCH / (step_seconds(network) * 1.1 * len(rows))
final_head, _ = head_of(best["settings"], np.arange(len(y)))
tuned = False
if epochs >= LEAST_EPOCHS:
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
    said = evaluated(network, pictures[valid]).argmax(1)
    tuned = accuracy(y[valid].numpy(), said.numpy()) >= best["score"]
if not tuned:
    body.load_state_dict(kept_state)
    network = whole(final_head)
seconds = common.spent()
files, labels = common.class_folders(common.test)
shown = read(files)
outputs = evaluated(network, shown).softmax(1)
if known["flip"]:
    outputs += evaluated(network, shown.flip(2)).softmax(1)
said = encoder.inverse_transform(outputs.argmax(1).numpy())
common.answer(accuracy(np.array(labels), said), seconds, "optuna")
