"""`python -m train`: prepare the clips, fit a config, evaluate and export a bundle."""

from train.cli import app

app(prog_name="python -m train")
