"""Batched small networks in JAX: one `jit` of an epoch's scan over `vmap`ped AdamW steps.

Runs in an environment of its own, which has JAX and none of seedbed: `python jax_networks.py
SETTINGS.json ARRAYS.npz` prints one JSON object. The benchmark `jax` starts it.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

# Before JAX makes its threads.
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def main(settings: dict[str, Any], arrays: Any) -> dict[str, Any]:
    """Seconds to start, to compile and to train, and each trial's best validation accuracy.

    `settings` holds shape, batch_size, epochs, learning_rates and weight_decays [K], warmup, decay;
    `arrays` holds train_x, train_y, valid_x, valid_y.
    """
    shape, epochs, batch_size = settings["shape"], settings["epochs"], settings["batch_size"]
    rates = jnp.array(settings["learning_rates"], jnp.float32)
    decays = jnp.array(settings["weight_decays"], jnp.float32)
    data = {name: jnp.array(arrays[name]) for name in arrays.files}
    items, trials = len(data["train_y"]), len(rates)
    steps = items // batch_size
    multipliers = _schedule(settings, epochs * steps).reshape(epochs, steps)
    draws = np.random.default_rng(0)
    orders = [
        np.stack([draws.permutation(items)[: steps * batch_size] for _ in range(trials)])
        .reshape(trials, steps, batch_size)
        .swapaxes(0, 1)
        for _ in range(epochs)
    ]

    def forward(parameters: Any, x: Any) -> Any:
        for weight, bias in parameters[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        weight, bias = parameters[-1]
        return x @ weight + bias

    def loss_of(parameters: Any, x: Any, y: Any) -> Any:
        logs = jax.nn.log_softmax(forward(parameters, x))
        return -jnp.take_along_axis(logs, y[:, None], 1).mean()

    def one_step(state: Any, rows: Any, rate: Any, decay: Any) -> Any:
        parameters, first, second, count = state
        gradients = jax.grad(loss_of)(parameters, data["train_x"][rows], data["train_y"][rows])
        count = count + 1.0
        tree = jax.tree_util.tree_map
        first = tree(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, gradients)
        second = tree(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, second, gradients)

        def moved(p: Any, m: Any, v: Any) -> Any:
            kept = 1 - rate * decay if p.ndim == 2 else 1.0
            denominator = jnp.sqrt(v / (1 - BETA2**count)) + EPSILON
            return kept * p - rate * (m / (1 - BETA1**count)) / denominator

        return tree(moved, parameters, first, second), first, second, count

    def epoch(state: Any, order: Any, factors: Any) -> Any:
        def body(carry: Any, each: Any) -> Any:
            rows, factor = each
            return jax.vmap(one_step)(carry, rows, rates * factor, decays), None

        state, _ = jax.lax.scan(body, state, (order, factors))
        outputs = jax.vmap(forward, in_axes=(0, None))(state[0], data["valid_x"])
        return state, (outputs.argmax(-1) == data["valid_y"]).mean(-1)

    def start() -> Any:
        def parameters(key: Any) -> Any:
            made = []
            for inputs, outputs in itertools.pairwise(shape):
                key, one, two = jax.random.split(key, 3)
                bound = inputs**-0.5
                made.append(
                    (
                        jax.random.uniform(one, (inputs, outputs), minval=-bound, maxval=bound),
                        jax.random.uniform(two, (outputs,), minval=-bound, maxval=bound),
                    )
                )
            return made

        new = jax.vmap(parameters)(jax.random.split(jax.random.key(0), trials))
        zeros = jax.tree_util.tree_map(jnp.zeros_like, new)
        return new, zeros, zeros, jnp.zeros(trials)

    began = time.monotonic()
    state = jax.block_until_ready(start())
    starting = time.monotonic() - began
    began = time.monotonic()
    compiled = jax.jit(epoch).lower(state, orders[0], multipliers[0]).compile()
    compiling = time.monotonic() - began
    began = time.monotonic()
    best = np.zeros(trials)
    for order, factors in zip(orders, multipliers, strict=True):
        state, accuracies = compiled(state, order, factors)
        best = np.maximum(best, np.asarray(accuracies))
    training = time.monotonic() - began
    return {
        "starting": starting,
        "compiling": compiling,
        "training": training,
        "best": best.tolist(),
        "version": jax.__version__,
    }


def _schedule(settings: dict[str, Any], total: int) -> Any:
    """Warm-up, stable, decay, as shares of the learning rate [total]."""
    step = np.arange(total)
    rising = (step + 1) / max(1.0, settings["warmup"] * total)
    falling = (total - step) / max(1.0, settings["decay"] * total)
    return np.minimum(1.0, np.minimum(rising, falling)).astype(np.float32)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()), np.load(sys.argv[2]))))
