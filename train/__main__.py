"""`python -m train`: prepare clips, train a config, evaluate and export a bundle."""

import sys

from train.cli.main import app
from train.errors import TrainError

if __name__ == "__main__":
    try:
        app(prog_name="python -m train")
    except TrainError as error:
        sys.stderr.write(f"train: {error}\n")
        sys.exit(2)
