"""What one writes by hand for masks: the features of a pretrained network at five scales are
computed once and Optuna finds a decoder on them that goes up step by step. Where at least three
epochs fit, the whole network is trained from there with zooms and flips, and what is better on a
seventh of the pictures stays."""

import time

import common
import lite
import numpy as np
import optuna
import torch
import torch.nn.functional as F
from common import known, left, seed
from PIL import Image
from scores import mean_iou
from sklearn.model_selection import train_test_split
from torch import nn
from training import fit

SIZE, BATCH, NARROW = (192, 256), 8, 24
HEADS_SHARE, TRIAL_SHARE, END_SHARE = 0.35, 0.2, 0.9
LEAST_EPOCHS = 3.0
VOID = CLASSES = known["void"]

torch.set_num_threads(2)
torch.manual_seed(seed)
optuna.logging.set_verbosity(optuna.logging.ERROR)
common.start()


class Decoder(nn.Module):
    """From features at strides 2 to 32 to outputs at stride 2 [B, classes, h, w]; what is computed
    at stride 2, with most places, is narrow."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        widths = [NARROW, *[width] * (len(lite.CHANNELS) - 1)]
        self.sides = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, w, 1, bias=False), nn.GroupNorm(8, w))
            for c, w in zip(lite.CHANNELS, widths, strict=True)
        )
        self.ups = nn.ModuleList([nn.Conv2d(width, NARROW, 1), *[nn.Identity()] * 3])
        self.mixes = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(w, w, 3, padding=1, bias=False),
                nn.GroupNorm(8, w),
                nn.ReLU(inplace=True),
            )
            for w in widths
        )
        self.last = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(NARROW, CLASSES, 1))

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        x = self.mixes[-1](self.sides[-1](levels[-1]))
        for level in range(len(levels) - 2, -1, -1):
            here = self.sides[level](levels[level])
            above = F.interpolate(self.ups[level](x), size=here.shape[2:], mode="bilinear")
            x = self.mixes[level](here + above)
        return self.last(x)


body = lite.lite0().to(memory_format=torch.channels_last)[: lite.LEVELS[-1] + 1].eval()


def levels_of(x: torch.Tensor) -> list[torch.Tensor]:
    found = []
    for place, stage in enumerate(body):
        x = stage(x)
        if place in lite.LEVELS:
            found.append(x)
    return found


class Whole(nn.Module):
    """Normalised pictures to outputs at stride 2."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.body, self.decoder = body, decoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(levels_of(x))


def read(folder) -> tuple[torch.Tensor, torch.Tensor]:
    files = sorted((folder / "images").iterdir())
    masks = [folder / "masks" / f"{file.stem}.png" for file in files]
    pictures = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    return torch.from_numpy(pictures), torch.from_numpy(
        np.stack([np.asarray(Image.open(mask)) for mask in masks])
    )


def resized(pictures: torch.Tensor) -> torch.Tensor:
    x = F.interpolate(lite.normal(pictures), size=SIZE, mode="bilinear")
    return x.contiguous(memory_format=torch.channels_last)


def loss_with(weights: torch.Tensor):
    """Of outputs at stride 2 against masks of any size, which are sampled down."""

    def loss(outputs: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        small = F.interpolate(masks[:, None].float(), size=outputs.shape[2:], mode="nearest-exact")
        return F.cross_entropy(outputs, small[:, 0].long(), weights, ignore_index=VOID)

    return loss


@torch.no_grad()
def said_of(decoder: Decoder, levels: list[torch.Tensor], size: tuple[int, int]) -> np.ndarray:
    decoder.eval()
    maps = []
    for rows in torch.arange(len(levels[0])).split(BATCH):
        outputs = decoder([level[rows] for level in levels])
        maps.append(F.interpolate(outputs, size=size, mode="bilinear").argmax(1))
    decoder.train()
    return torch.cat(maps).numpy()


@torch.no_grad()
def features(x: torch.Tensor) -> list[torch.Tensor]:
    parts = [levels_of(resized(part)) for part in x.split(BATCH)]
    return [torch.cat(level) for level in zip(*parts, strict=True)]


def augmented(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Half of them mirrored, all zoomed by up to 1.6 somewhere: float pictures, masks [B, h, w]."""
    zoom = 1 / (1 + 0.6 * torch.rand(len(x)))
    turn = torch.where(torch.rand(len(x)) < 0.5, -zoom, zoom)
    nothing, places = torch.zeros(len(x)), (torch.rand(2, len(x)) * 2 - 1) * (1 - zoom)
    rows = torch.stack([turn, nothing, places[0]], 1), torch.stack([nothing, zoom, places[1]], 1)
    grid = F.affine_grid(torch.stack(rows, 1), [len(x), 1, *SIZE], align_corners=False)
    x = F.grid_sample(lite.normal(x), grid, padding_mode="border", align_corners=False)
    y = F.grid_sample(y[:, None].float(), grid, mode="nearest", align_corners=False)
    return x.contiguous(memory_format=torch.channels_last), y[:, 0]


def step_seconds() -> float:
    """A training step of the whole network when it has been done before."""
    network = Whole(Decoder(48, 0.1))
    for _ in range(2):
        clock = time.monotonic()
        x, y = augmented(pictures[:BATCH], masks[:BATCH])
        loss_with(torch.ones(CLASSES))(network(x), y).backward()
    body.zero_grad()
    return time.monotonic() - clock


pictures, masks = read(common.train)
rows, valid = train_test_split(np.arange(len(masks)), test_size=1 / 7, random_state=seed)
truth, size = masks[valid].numpy(), tuple(masks.shape[1:])
# What is done depends on how fast this machine is.
epoch_seconds = step_seconds() * 1.1 * len(rows) / BATCH
tuning = left(END_SHARE - HEADS_SHARE) > LEAST_EPOCHS * epoch_seconds
heads_share = HEADS_SHARE if tuning else END_SHARE
cached = features(pictures)
# The same mirrored, where there is time for it.
if common.spent() < common.asked["seconds"] * 0.12:
    mirrored = features(pictures.flip(2))
    cached = [torch.cat(pair) for pair in zip(cached, mirrored, strict=True)]
    all_masks = torch.cat([masks, masks.flip(2)])
else:
    all_masks = masks
copies = len(all_masks) // len(masks)
learned = np.concatenate([rows + copy * len(masks) for copy in range(copies)])
shares = torch.bincount(masks[rows].flatten(), minlength=CLASSES + 1)[:CLASSES].float()
shares = (shares / shares.sum()).clamp(min=1e-4)
best: dict = {"score": -1.0}


class OfCache(nn.Module):
    """Takes numbers of cached pictures."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        return self.decoder([level[numbers] for level in cached])


def objective(trial: optuna.Trial) -> float:
    torch.manual_seed(seed)
    decoder = Decoder(
        trial.suggest_categorical("width", [32, 48, 64]), trial.suggest_float("dropout", 0.0, 0.3)
    )
    weights = shares ** -trial.suggest_float("balance", 0.0, 0.6)
    weights = weights / weights.mean()
    share = TRIAL_SHARE if best["score"] >= 0 else 1.0
    done = fit(
        OfCache(decoder),
        torch.from_numpy(learned),
        all_masks[learned],
        epochs=trial.suggest_int("epochs", 2, 12, log=True) / copies,
        rate=trial.suggest_float("rate", 1e-3, 2e-2, log=True),
        decay=0.01,
        batch=BATCH,
        until=time.monotonic() + min(left(heads_share), share * common.asked["seconds"]),
        loss=loss_with(weights),
    )
    if not done and best["score"] >= 0:
        raise optuna.TrialPruned
    said = said_of(decoder, [level[valid] for level in cached], size)
    score = mean_iou(truth, said, VOID, CLASSES)
    if score > best["score"]:
        best.update(score=score, decoder=decoder, weights=weights)
    return score


study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
study.enqueue_trial({"width": 48, "dropout": 0.1, "balance": 0.3, "epochs": 5, "rate": 5e-3})
study.optimize(objective, timeout=max(0.1, left(heads_share)))


decoder = best["decoder"]
if tuning:
    decoder = Decoder(decoder.width, 0.1)
    decoder.load_state_dict(best["decoder"].state_dict())
    kept = {name: value.clone() for name, value in body.state_dict().items()}
    fit(
        Whole(decoder),  # the body's batch norms keep the statistics of ImageNet
        pictures[rows],
        masks[rows],
        epochs=left(END_SHARE) / epoch_seconds,
        rate=1.5e-3,
        decay=0.01,
        batch=BATCH,
        until=time.monotonic() + left(END_SHARE + 0.04),
        loss=loss_with(best["weights"]),
        augment=augmented,
    )
    said = said_of(decoder, features(pictures[valid]), size)
    if mean_iou(truth, said, VOID, CLASSES) < best["score"]:
        decoder = best["decoder"]
        body.load_state_dict(kept)
seconds = common.spent()
shown, masks = read(common.test)
said = said_of(decoder, features(shown), size)
common.answer(mean_iou(masks.numpy(), said, VOID, CLASSES), seconds, "optuna")
