"""`python -m streamdet`."""

from streamdet.cli.main import run

if __name__ == "__main__":  # a worker process imports it too
    run()
