"""The command line as a whole: fast help, few imports, a reference page that is up to date."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT, need_shared, streamdet

from streamdet.cli.errors import EXIT_CODE_MEANINGS
from streamdet.cli.event_outputs import OutputFormat
from streamdet.cli.reference import list_commands, render_reference
from streamdet.formats import REPORT_SUFFIX, SUFFIX_OF
from train.data.table import read_rows

COMMANDS = dict(list_commands())


def imported_by(*args: str) -> set[str]:
    code = f"import sys; sys.argv = ['streamdet', *{list(args)!r}]\n" + (
        "from streamdet.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return {m.split(".")[0] for m in done.stderr.decode().split()}


def test_help_names_every_command_and_exit_code_and_imports_nothing_heavy():
    done = streamdet("--help")
    assert done.returncode == 0
    text = done.stdout.decode()
    for name in COMMANDS:
        assert f"\n  {name.split()[0]} " in text
    codes = [int(code) for code in re.findall(r"^ {4}(\d+) ", text, re.MULTILINE)]
    assert codes == list(EXIT_CODE_MEANINGS) == [0, 1, 2, 3, 69, 74, 75, 130]
    heavy = {"jax", "jaxlib", "flax", "numpy", "soundfile", "sounddevice", "prometheus_client",
             "pydantic", "av", "httpx", "paho", "sqlite3"}  # fmt: skip
    assert not imported_by("--help") & heavy
    assert not imported_by("listen", "--help") & heavy - {"pydantic"}  # Typer imports it


def test_serving_imports_nothing_of_training(wav):
    training = {"optax", "orbax", "train", "grain", "scipy", "sounddevice", "tensorflow"}
    found = imported_by("file", str(wav))
    assert "soundfile" in found
    assert not found & {"jax", "flax", *training}
    found = imported_by("file", str(wav), "--platform", "cpu")
    assert {"jax", "flax", "soundfile"} <= found
    assert not found & training


def test_the_reference_page_is_what_the_commands_say():
    page = (ROOT / "docs" / "commands.md").read_text()
    assert page == render_reference(), "run: python -m streamdet.cli.reference > docs/commands.md"
    for code in EXIT_CODE_MEANINGS:
        assert f"|`{code}`|" in page


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help_and_every_command_an_example(name):
    command = COMMANDS[name]
    examples = command.help.split("Examples:\n\n\b\n")[1]
    assert f"streamdet {name} " in f"{examples} ".replace("\n", " ")
    for line in examples.splitlines():
        assert line.startswith("  ")
        assert len(line) <= 95
    for param in command.params:
        assert param.help, f"{name}: {param.opts[0]}"
        assert param.help.endswith("."), f"{name}: {param.opts[0]}"


def test_the_options_of_the_examples_exist():
    for name, command in COMMANDS.items():
        page = command.help
        flags = {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)}
        for line in re.findall(rf"^  .*?streamdet {name}\b(.*)", page, re.MULTILINE):
            assert set(re.findall(r"(--[a-z-]+)", line)) <= flags, line


def test_the_help_of_file_lists_every_format_with_its_suffix():
    table = (
        COMMANDS["file"].help.split("Output formats and their suffixes:")[1].split("Examples")[0]
    )
    for output_format in OutputFormat:
        assert re.search(rf"\b{output_format}\b", table)
        suffix = SUFFIX_OF.get(output_format.value, "")
        assert suffix in table.lower()
    assert REPORT_SUFFIX in table


def test_version_and_usage():
    assert re.match(rb"streamdet \d+\.\d+\.\d+", streamdet("--version").stdout)
    assert streamdet().returncode == 2
    for arguments, message in (
        (["detect"], b"streamdet: No such command 'detect'.\n"),
        (["file"], b"streamdet: Missing argument 'PATH'.\n"),
        (["file", "--threshold", "x", "-"],
         b"streamdet: Invalid value for '--threshold': should be a valid number\n"),
    ):  # fmt: skip
        wrong = streamdet(*arguments)
        assert (wrong.returncode, wrong.stderr) == (2, message)


def test_model_info_prints_the_card(tmp_path):
    shown = streamdet("model", "info").stdout.decode()
    for word in ("sensitive", "balanced", "strict", "seed", "commit", "CC0-1.0"):
        assert word in shown
    assert streamdet("model", "info", "tiny", cwd=tmp_path).stdout.startswith(b"streamdet-tiny")
    (tmp_path / "tiny").mkdir()  # a folder takes precedence over a shipped bundle
    assert streamdet("model", "info", "tiny", cwd=tmp_path).returncode == 2
    done = streamdet("model", "info", tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_the_self_test_detects_its_own_blast():
    done = streamdet("selftest")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(b"detected")


def test_links_in_the_docs_lead_somewhere():
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_gunshot_clips_of_the_test_split_are_detected():
    shared = need_shared()
    rows = read_rows(shared / "data" / "manifest.csv")
    clips = [
        shared / "data" / r["path"]
        for r in rows
        if r["split"] == "test" and r["category"] == "gunshot" and r["kind"] != "field"
    ]
    done = streamdet("file", *clips, "--operating-point", "sensitive", "--format", "csv")
    detected = {line.split(",")[0] for line in done.stdout.decode().splitlines()[1:]}
    assert len(detected) >= len(clips) // 2
