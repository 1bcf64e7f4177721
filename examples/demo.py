"""What `make demo` shows: a search on a sample dataset, its leaderboard, and a prediction."""

import subprocess
import sys

import seedbed

DATA = "sample://breast_cancer"


def main() -> None:
    """Trains with the command line, then predicts with the Python client on the same data."""
    train = [sys.executable, "-m", "seedbed.cli", "train", "--task", "tabular", "--data", DATA]
    print("$ seedbed train --task tabular --data", DATA, "--budget 20s", flush=True)
    subprocess.run([*train, "--budget", "20s"], check=True)
    with seedbed.connect() as client:
        model = client.models()[0]
        sample = dict(client.inspect(client.datasets()[0]).samples[0])
        truth = sample.pop(model.info.target)
        (prediction,) = model.predict([sample])
        assert isinstance(prediction, seedbed.Classification)
        sure = prediction.probabilities[prediction.label]
        print(f"\nprediction for the first row: {prediction.label} ({sure:.1%}); it is {truth}")


if __name__ == "__main__":
    main()
