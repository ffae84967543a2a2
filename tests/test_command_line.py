"""The command line as a whole: fast help, no needless imports, docs that name everything."""

import re
import subprocess
import sys

import pytest
import typer.main
from conftest import ROOT, need_shared, streamdet

from streamdet.cli.main import app
from train.data.table import read_rows

DOCS = (ROOT / "docs" / "commands.md").read_text()


def commands():
    group = typer.main.get_command(app)
    found = []
    for name, command in sorted(group.commands.items()):
        inner = getattr(command, "commands", None)
        found += (
            [(f"{name} {k}", c) for k, c in sorted(inner.items())] if inner else [(name, command)]
        )
    return found


def imported_by(*args: str) -> set[str]:
    code = f"import sys; sys.argv = ['streamdet', *{list(args)!r}]\n" + (
        "from streamdet.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return {m.split(".")[0] for m in done.stderr.decode().split()}


def test_help_names_every_command_and_imports_nothing_heavy():
    done = streamdet("--help")
    assert done.returncode == 0
    for name, _ in commands():
        assert name.split()[0] in done.stdout.decode()
    heavy = {"jax", "jaxlib", "flax", "numpy", "soundfile", "sounddevice", "prometheus_client",
             "pydantic", "av", "httpx", "paho", "sqlite3"}  # fmt: skip
    assert not imported_by("--help") & heavy
    assert not imported_by("listen", "--help") & heavy - {"pydantic"}  # Typer takes it itself


def test_serving_imports_nothing_of_training(wav):
    training = {"optax", "orbax", "train", "grain", "scipy", "sounddevice", "tensorflow"}
    found = imported_by("file", str(wav))
    assert "soundfile" in found
    assert not found & {"jax", "flax", *training}
    found = imported_by("file", str(wav), "--platform", "cpu")
    assert {"jax", "flax", "soundfile"} <= found
    assert not found & training


@pytest.mark.parametrize(
    ("name", "command"), commands(), ids=lambda c: c if isinstance(c, str) else ""
)
def test_every_command_and_option_is_in_the_docs_with_an_example(name, command):
    assert f"## streamdet {name}" in DOCS
    section = DOCS.split(f"## streamdet {name}\n")[1].split("\n## ")[0]
    assert "Example:" in command.help
    for option in command.params:
        for flag in option.opts:
            if flag.startswith("--"):
                assert f"`{flag}" in section, f"{name}: {flag} is not in docs/commands.md"


def test_the_docs_name_no_option_that_is_not_there():
    options = {
        flag for _, c in commands() for p in c.params for flag in (*p.opts, *p.secondary_opts)
    } | {
        "--help",
        "--version",
    }
    assert set(re.findall(r"`(--[a-z-]+)", DOCS)) <= options


def test_version_and_usage():
    assert re.match(rb"streamdet \d+\.\d+\.\d+", streamdet("--version").stdout)
    assert streamdet().returncode == 2
    unknown = streamdet("hear")
    assert unknown.returncode == 2
    assert b"hear" in unknown.stderr


def test_model_info_prints_the_card(tmp_path):
    shown = streamdet("model", "info").stdout.decode()
    for word in ("sensitive", "balanced", "strict", "seed", "commit", "CC0-1.0"):
        assert word in shown
    assert streamdet("model", "info", "first", cwd=tmp_path).stdout.startswith(b"streamdet-first")
    (tmp_path / "first").mkdir()  # a folder of that name here goes before the shipped one
    assert streamdet("model", "info", "first", cwd=tmp_path).returncode == 2
    done = streamdet("model", "info", tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_the_self_test_hears_its_own_blast():
    done = streamdet("selftest")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(b"heard")


def test_links_in_the_docs_lead_somewhere():
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_gunshot_clips_of_the_test_split_are_found():
    shared = need_shared()
    rows = read_rows(shared / "data" / "manifest.csv")
    clips = [
        shared / "data" / r["path"]
        for r in rows
        if r["split"] == "test" and r["category"] == "gunshot" and r["kind"] != "field"
    ]
    done = streamdet("file", *clips, "--operating-point", "sensitive", "--format", "csv")
    heard = {line.split(",")[0] for line in done.stdout.decode().splitlines()[1:]}
    assert len(heard) >= len(clips) // 2
