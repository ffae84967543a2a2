"""The service under a user instance of systemd, in a mount namespace with its own /run."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT, need

COPIED = ("Type", "NotifyAccess", "TimeoutStartSec", "Restart", "RestartPreventExitStatus",
        "KillSignal", "TimeoutStopSec", "ExecReload", "UMask")  # fmt: skip
SCRIPT = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user
chmod 700 /run/user
export XDG_RUNTIME_DIR=/run/user XDG_CONFIG_HOME={config} SYSTEMD_LOG_TARGET=null
/lib/systemd/systemd --user --unit=basic.target &
manager=$!
for i in $(seq 100); do [ -S /run/user/systemd/private ] && break; sleep 0.1; done
[ -S /run/user/systemd/private ] || {{ echo NO MANAGER; exit 0; }}
show() {{ systemctl --user show streamdet -p ActiveState -p StatusText -p NRestarts -p MainPID; }}
systemctl --user start streamdet
echo STARTED; show
echo 'stall_s = 4' | cat - {toml} > {toml}.new && mv {toml}.new {toml}
systemctl --user reload streamdet
sleep 1
echo RELOADED; show
kill -STOP "$(systemctl --user show streamdet -p MainPID --value)"
for i in $(seq 200); do
  [ "$(systemctl --user show streamdet -p NRestarts --value)" = 1 ] \\
    && systemctl --user is-active -q streamdet && break
  sleep 0.1
done
echo KILLED; show
systemctl --user stop streamdet
echo STOPPED; show
kill $manager
"""


def test_systemd_starts_reloads_watches_and_stops_the_service(tmp_path, wav):
    need("systemctl", "unshare")
    possible = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/run"], capture_output=True, check=False
    )
    if possible.returncode:
        pytest.skip(f"cannot create a mount namespace: {possible.stderr.decode().strip()}")
    units = tmp_path / "systemd" / "user"
    units.mkdir(parents=True)
    toml = tmp_path / "streamdet.toml"
    toml.write_text(f'[[sources]]\nname = "trial"\nloop = true\nfile = "{wav}"\n')
    shipped = (ROOT / "systemd" / "streamdet.service").read_text().splitlines()
    lines = [line for line in shipped if line.partition("=")[0] in COPIED]
    command = f"{sys.executable} -m streamdet listen --config {toml} --metrics off"
    unit = ["[Service]", f"ExecStart={command}", f"StandardError=append:{tmp_path / 'err.txt'}",
            f"StandardOutput=file:{tmp_path / 'out.txt'}", "WatchdogSec=3", "RestartSec=0.5",
            "TimeoutAbortSec=1", *lines]  # fmt: skip
    (units / "streamdet.service").write_text("\n".join(unit) + "\n")
    script = SCRIPT.format(config=tmp_path, toml=toml)
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    if "NO MANAGER" in done.stdout:
        pytest.skip("a user instance of systemd does not start")
    assert done.returncode == 0, done.stdout + done.stderr
    steps = dict(re.findall(r"([A-Z]{6,})\n((?:\w+=.*\n)+)", done.stdout))
    assert "ActiveState=active" in steps["STARTED"]
    assert "StatusText=1 of 1 sources receiving audio" in steps["STARTED"]
    assert "ActiveState=active" in steps["RELOADED"]
    assert "NRestarts=0" in steps["RELOADED"]
    assert "ActiveState=active" in steps["KILLED"]
    assert "NRestarts=1" in steps["KILLED"]
    assert "ActiveState=inactive" in steps["STOPPED"]
    log = (tmp_path / "err.txt").read_text()
    assert "Traceback" not in log
    assert log.count("all required sources are receiving audio") >= 1
    assert "configuration reloaded; sources: trial" in log
