"""Timings, each of ours beside what one would do without seedbed, in one run and interleaved.

`python -m benchmarks` lists them; each name is a module here with a `run(rounds)`.
"""

BENCHMARKS = {
    "service_start": "How fast the service is ready and how small it is, against a process that "
    "loads torch; and how soon a job's first epoch is there.",
    "search_overhead": "Trials a minute of a whole job through the service, against a plain Optuna "
    "loop that trains the same network on the same data.",
    "loop_overhead": "The Learner's training throughput, against a bare PyTorch loop with the same "
    "settings.",
    "quality": "Test scores in the same time and in a third of it, for every task, on the same "
    "files, split and cores, against AutoGluon, FLAML, fastai and hand-written Optuna loops. Takes "
    "hours; what was run is kept.",
    "frozen_features": "Trials on the features of a frozen backbone, against loops that run the "
    "backbone again; and how often a picture is decoded.",
    "batched_trials": "Trials a minute of small networks trained side by side, against an Optuna "
    "loop and, over twelve shapes, against the same learners one by one.",
    "jax": "The same batched small networks in JAX, compile time included and apart.",
    "budget": "Whether jobs of mixed tasks take the wall-clock time that they were given. Takes "
    "half an hour.",
    "trials_together": "Trials a minute of searches whose trials are trained side by side where "
    "that is faster, against the same searches one trial after the other.",
    "continued_trials": "Sample passes of a search whose promoted trials go on where they paused, "
    "against one in which they begin again.",
    "learning_rates": "Validation scores of networks with the rate that a range test finds, "
    "against the default rate and the best of seven.",
    "prepared_start": "How soon a second job on the same data trains, against the first one.",
    "warm_start": "How many trials a job needs that tries what an earlier job on similar data "
    "found, against one that does not.",
    "image_pipeline": "Prepared pictures on their way into a network, against random tensors in "
    "memory and against torchvision's folder of files.",
    "inspect": "How long InspectDataset takes on a small and on a large table, and how much "
    "memory, against a plain script.",
    "large_table": "How much memory a job on 1,000,000 rows takes in all processes together, "
    "against a plain script.",
}
"""A sentence for each benchmark, by its name."""
