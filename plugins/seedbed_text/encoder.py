"""The encoder of BERT (Devlin et al. 2019) without computing on padding."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from seedbed_sdk.learner import Batch
from seedbed_text.encoders import EncoderShape

EPSILON = 1e-12


class Encoder(nn.Module):
    """Token numbers to sentence vectors: the mean over the last layer's tokens.

    Takes `ids`, integers [B, L], and `length`, integers [B] from 1 to L, and gives [B, width]. All
    tokens of the batch stand one behind the other; only attention, a small part of the work for
    short texts, sees them padded to the longest.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.width = shape.width
        self.words = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = nn.Embedding(shape.positions, shape.width)
        self.norm = nn.LayerNorm(shape.width, EPSILON)
        self.layers = nn.ModuleList([Layer(shape) for _ in range(shape.layers)])

    def forward(self, batch: Batch) -> torch.Tensor:
        length = batch["length"].long()
        longest = int(length.max())
        mask = torch.arange(longest, device=length.device) < length[:, None]
        places = mask.flatten().nonzero().squeeze(1)
        sentence, position = places // longest, places % longest
        x = self.words(batch["ids"][sentence, position])
        x = self.norm(x + self.positions(position))
        for layer in self.layers:
            x = layer(x, places, mask)
        total = x.new_zeros(len(length), x.shape[1]).index_add(0, sentence, x)
        mean: torch.Tensor = total / length[:, None]
        return mean

    @torch.no_grad()
    def load_bert(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Takes over the weights of a published model. The segment vector, which is the same for
        every token here, is added to those of the positions."""
        table = weights["embeddings.position_embeddings.weight"]
        segment = weights["embeddings.token_type_embeddings.weight"][0]
        state = {
            "words.weight": weights["embeddings.word_embeddings.weight"],
            "positions.weight": table + segment,
        }
        for kind in ("weight", "bias"):
            state[f"norm.{kind}"] = weights[f"embeddings.LayerNorm.{kind}"]
            for index in range(len(self.layers)):
                theirs, ours = f"encoder.layer.{index}", f"layers.{index}"
                attention = f"{theirs}.attention"
                state[f"{ours}.query_key_value.{kind}"] = torch.cat(
                    [weights[f"{attention}.self.{n}.{kind}"] for n in ("query", "key", "value")]
                )
                state[f"{ours}.out.{kind}"] = weights[f"{attention}.output.dense.{kind}"]
                state[f"{ours}.norm.{kind}"] = weights[f"{attention}.output.LayerNorm.{kind}"]
                state[f"{ours}.up.{kind}"] = weights[f"{theirs}.intermediate.dense.{kind}"]
                state[f"{ours}.down.{kind}"] = weights[f"{theirs}.output.dense.{kind}"]
                state[f"{ours}.last_norm.{kind}"] = weights[f"{theirs}.output.LayerNorm.{kind}"]
        self.load_state_dict(state)


class Layer(nn.Module):
    """Attention and a network for each token, each added to its input and then normalised.

    Takes the tokens [T, width], their places among the padded ones [T], and the mask [B, L] of
    those that are there.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query_key_value = nn.Linear(shape.width, 3 * shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.norm = nn.LayerNorm(shape.width, EPSILON)
        self.up = nn.Linear(shape.width, shape.inner)
        self.down = nn.Linear(shape.inner, shape.width)
        self.last_norm = nn.LayerNorm(shape.width, EPSILON)

    def forward(self, x: torch.Tensor, places: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        count, longest = mask.shape
        projected = self.query_key_value(x)
        padded = projected.new_zeros(mask.numel(), projected.shape[1])
        padded = padded.index_copy(0, places, projected)
        query, key, value = padded.view(count, longest, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        seen = seen.transpose(1, 2).reshape(mask.numel(), -1).index_select(0, places)
        x = self.norm(x + self.out(seen))
        y: torch.Tensor = self.last_norm(x + self.down(F.gelu(self.up(x))))
        return y
