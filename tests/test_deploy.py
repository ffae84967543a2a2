"""What is shipped for operators is what their tools accept."""

import re
import shutil
import subprocess

from conftest import ROOT, need

from streamdet.detect.event import ModelName
from streamdet.service.metrics import Metrics

UNIT = ROOT / "systemd" / "streamdet.service"


def run(*command) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


def test_prometheus_takes_the_scrape_configuration_and_the_rules():
    need("promtool")
    for kind, name in (("rules", "streamdet.rules.yml"), ("config", "prometheus.yml")):
        done = run("promtool", "check", kind, ROOT / "deploy" / name)
        assert done.returncode == 0, done.stdout + done.stderr


def test_systemd_takes_the_unit_and_finds_it_hardened(tmp_path):
    need("systemd-analyze")
    unit = tmp_path / UNIT.name
    there = shutil.which("true")
    unit.write_text(UNIT.read_text().replace("/opt/streamdet/bin/streamdet", str(there)))
    done = run("systemd-analyze", "verify", unit)
    assert done.returncode == 0, done.stderr
    done = run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)
    assert done.returncode == 0, done.stdout


def test_every_metric_is_in_the_docs_and_every_alert_is_of_a_metric():
    metrics = Metrics(ModelName("m", "1", "0" * 64), ["s"])
    names = {s.name for family in metrics.registry.collect() for s in family.samples}
    names = {re.sub(r"_(bucket|sum|count)$", "", n) for n in names if n.startswith("streamdet_")}
    page = (ROOT / "docs" / "metrics.md").read_text()
    documented = set(re.findall(r"`(streamdet_\w+)`", page))
    assert documented == names
    rules = (ROOT / "deploy" / "streamdet.rules.yml").read_text()
    assert set(re.findall(r"streamdet_\w+", rules)) <= names
