"""`python -m streamdet`."""

from streamdet.cli.main import run

run()
