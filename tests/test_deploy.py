"""The files in deploy/ and systemd/ are accepted by their tools and refer to existing things."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer.main
import yaml
from conftest import ROOT, need

from streamdet.cli.main import app
from streamdet.daemon.metrics import Metrics
from streamdet.detection.event import ModelId

DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
UNITS = sorted((ROOT / "systemd").glob("*.service"))
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yml"))
YAML = sorted(DEPLOY.rglob("*.yml"))
OTHERS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}


def run(*command, **others) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, **others
    )


def passes(*command, **others) -> None:
    done = run(*command, **others)
    assert done.returncode == 0, done.stdout + done.stderr


def tool(name: str) -> Path:
    """A program in the Python environment."""
    return Path(sys.executable).parent / name


def exported() -> set[str]:
    metrics = Metrics(ModelId("m", "1", "0" * 64), ["s"], ["stdout"])
    names = {s.name for family in metrics.registry.collect() for s in family.samples}
    return {n for n in names if n.startswith("streamdet_")}


def test_prometheus_accepts_the_configurations_and_the_rules():
    need("promtool")
    passes("promtool", "check", "rules", PROMETHEUS / "streamdet.rules.yml")
    for name in ("prometheus.yml", "compose.yml"):
        passes("promtool", "check", "config", PROMETHEUS / name)


def test_each_alert_fires_when_it_should_and_only_then():
    need("promtool")
    tests = PROMETHEUS / "streamdet.rules.test.yml"
    passes("promtool", "test", "rules", tests)
    alerts = set(re.findall(r"- alert: (\w+)", (PROMETHEUS / "streamdet.rules.yml").read_text()))
    assert alerts == set(re.findall(r"alertname: (\w+)", tests.read_text()))
    page = (ROOT / "docs" / "operate.md").read_text()
    assert alerts == set(re.findall(r"^### (Streamdet\w+)$", page, re.MULTILINE))


@pytest.mark.parametrize("shipped", UNITS, ids=lambda u: u.name)
def test_systemd_accepts_the_units_and_finds_them_hardened(tmp_path, shipped):
    need("systemd-analyze")
    unit = tmp_path / shipped.name.replace("@", "@gate")
    there = shutil.which("true")
    unit.write_text(shipped.read_text().replace("/opt/streamdet/bin/streamdet", str(there)))
    done = run("systemd-analyze", "verify", unit)
    assert (done.returncode, done.stderr) == (0, "")
    passes("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)


def test_every_metric_is_documented_and_rules_and_dashboard_use_no_other():
    names = exported()
    plain = {re.sub(r"_(bucket|sum|count)$", "", n) for n in names}
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert set(re.findall(r"`(streamdet_\w+)`", page)) == plain
    for path in (*PROMETHEUS.glob("*rules*.yml"), DEPLOY / "grafana/dashboards/streamdet.json"):
        used = set(re.findall(r"(?<![\w-])streamdet_\w+", path.read_text()))
        assert used <= names, path.name


def test_prometheus_can_read_every_expression_of_the_dashboard(tmp_path):
    need("promtool")
    board = json.loads((DEPLOY / "grafana" / "dashboards" / "streamdet.json").read_text())
    expressions = [t["expr"] for panel in board["panels"] for t in panel["targets"]]
    expressions += [a["expr"] for a in board["annotations"]["list"]]
    recorded = set(re.findall(r"record: (\S+)", (PROMETHEUS / "streamdet.rules.yml").read_text()))
    rules = []
    for number, expression in enumerate(expressions):
        assert set(re.findall(r"streamdet:[\w:]+", expression)) <= recorded
        text = expression.replace("$instance", ".*").replace("$source", ".*")
        rules.append({"record": f"dashboard:{number}", "expr": text})
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    passes("promtool", "check", "rules", path)
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places)


def test_linters_find_nothing():
    need("shellcheck")
    passes("shellcheck", DEPLOY / "install.sh", ROOT / ".ci" / "run")
    if platform.machine() == "x86_64":  # the only one with a package of hadolint
        passes(tool("hadolint"), DEPLOY / "Dockerfile")
    rules = "{extends: relaxed, rules: {line-length: {max: 110}}}"
    passes(tool("yamllint"), "--strict", "-d", rules, *YAML)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda m: m.name)
def test_kubernetes_accepts_the_manifests(manifest):
    passes(tool("kubernetes-validate"), "--strict", manifest)
    parts = [p for p in yaml.safe_load_all(manifest.read_text()) if p]
    toml = next(p for p in parts if p["kind"] == "ConfigMap")["data"]["streamdet.toml"]
    (pod,) = (p["spec"]["template"]["spec"] for p in parts if "template" in p.get("spec", {}))
    (container,) = pod["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    checked(toml)


def test_kubernetes_accepts_the_scan_job_and_its_command_is_valid():
    job = DEPLOY / "scan" / "job.yml"
    passes(tool("kubernetes-validate"), "--strict", job)
    spec = yaml.safe_load(job.read_text())["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    args = [arg.replace("$(JOB_COMPLETION_INDEX)", "7") for arg in container["args"]]
    assert f"--shard=7/{spec['completions']}" in args
    group = typer.main.get_command(app)
    scan = group.commands["scan"]
    assert scan.make_context("scan", args[1:], resilient_parsing=True).params["jobs"] == 4
    mounts = {m["name"] for m in container["volumeMounts"]}
    assert mounts == {v["name"] for v in spec["template"]["spec"]["volumes"]}


def test_ray_accepts_its_cluster_configuration():
    import jsonschema

    (schema,) = (Path(find_spec("ray").origin).parent / "autoscaler").glob("ray-schema.json")
    config = yaml.safe_load((DEPLOY / "scan" / "ray.yml").read_text())
    jsonschema.validate(config, json.loads(schema.read_text()))
    assert config["head_node_type"] in config["available_node_types"]


def checked(toml: str) -> None:
    command = [sys.executable, "-m", "streamdet", "config", "check", "--config", "/dev/stdin"]
    done = subprocess.run(command, input=toml.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_compose_names_existing_files():
    compose = yaml.safe_load((DEPLOY / "compose.yml").read_text())
    named = set(compose["volumes"])
    for service in compose["services"].values():
        for volume in service["volumes"]:
            place = volume.split(":")[0]
            assert place in named or (DEPLOY / place).exists(), place
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:")
    build = compose["services"]["streamdet"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    checked((DEPLOY / "streamdet.toml").read_text())


def test_files_of_the_image_exist_and_are_not_ignored():
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", (DEPLOY / "Dockerfile").read_text(), re.M)
        for source in line.split()[:-1]
    ]
    let_in = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.M)
    assert set(copied) == set(let_in)
    assert all((ROOT / path).exists() for path in copied)


def test_the_script_installs_a_working_service(tmp_path):
    """Install into an empty folder, as the image does: the locked versions, then streamdet."""
    if os.environ.get("CI") is None and not os.environ.get("TEST_INSTALL"):
        pytest.skip("takes a minute and needs a package index: set CI or TEST_INSTALL=1")
    script = DEPLOY / "install.sh"
    env = {k: v for k, v in os.environ.items() if not k.startswith(("STREAMDET", "PYTHON"))}
    env |= {"DESTDIR": str(tmp_path), "PREFIX": "/opt/streamdet"}
    passes(script, env=env)
    program = tmp_path / "opt/streamdet/bin/streamdet"
    config = tmp_path / "etc/streamdet/streamdet.toml"
    assert 'name = "microphone"' in config.read_text()
    done = run(program, "file", ROOT / "streamdet/demo/scene.flac", "--format", "jsonl", env=env)
    assert len(done.stdout.splitlines()) == 3, done.stderr
    table = tmp_path / "shots.jsonl"
    manifest = ("--manifest", tmp_path / "scan.db", "--output", table)
    passes(program, "scan", ROOT / "streamdet/demo/scene.flac", *manifest, env=env)
    assert len(table.read_text().splitlines()) == 3
    done = run(program, "selftest", "--platform", "cpu", env=env)  # JAX is not installed
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    config.write_text("# mine\n" + config.read_text())
    passes(script, env=env)
    assert config.read_text().startswith("# mine")
    assert run(script, "--nonsense", env=env).returncode == 2
    passes(script, "--remove", env=env)
    assert not program.exists()
    assert config.exists()
