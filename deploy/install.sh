#!/bin/sh
# Installs streamdet as a systemd service on Debian, Ubuntu or Raspberry Pi OS, without Docker:
#   sudo deploy/install.sh            install from a checkout into /opt/streamdet, or update
#   sudo deploy/install.sh --remove   uninstall; configuration and state are kept
# For testing, PREFIX sets another folder and DESTDIR another root.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
prefix=${PREFIX:-/opt/streamdet}
dest=${DESTDIR:-}
units=$dest/etc/systemd/system
running() { [ -z "$dest" ] && [ -d /run/systemd/system ]; }

if [ "${1:-}" = --remove ]; then
  if running; then systemctl disable --now streamdet.service || true; fi
  rm -rf "$dest$prefix" "$units/streamdet.service" "$units/streamdet@.service"
  if running; then systemctl daemon-reload; fi
  echo "removed; /etc/streamdet and /var/lib/streamdet are kept"
  exit 0
fi
[ $# -eq 0 ] || { echo "usage: $0 [--remove]" >&2; exit 2; }
if [ -z "$dest" ] && [ "$(id -u)" -ne 0 ]; then
  echo "$0: must run as root. Use: sudo $0" >&2
  exit 2
fi

missing=
python3 -c 'import ensurepip, venv' 2> /dev/null || missing="$missing python3-venv"
ldconfig -p | grep libportaudio.so.2 > /dev/null || missing="$missing libportaudio2"
if [ -n "$missing" ]; then
  apt-get update -qq
  # shellcheck disable=SC2086 # a list of packages
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "$0: needs Python 3.11 or newer; found $(python3 --version)" >&2
  exit 2
}

python3 -m venv "$dest$prefix"
"$dest$prefix/bin/pip" install --quiet --require-hashes -r "$here/deploy/requirements.lock"
"$dest$prefix/bin/pip" install --quiet --no-deps --force-reinstall "$here"

mkdir -p "$units" "$dest/etc/streamdet"
for unit in streamdet.service streamdet@.service; do
  sed "s|/opt/streamdet/|$prefix/|" "$here/systemd/$unit" > "$units/$unit"
done
config=$dest/etc/streamdet/streamdet.toml
if [ ! -e "$config" ]; then
  "$dest$prefix/bin/streamdet" config example > "$config"
  cat >> "$config" <<'END'

[[sources]]
name = "microphone"
device = ""
END
fi
"$dest$prefix/bin/streamdet" config check --config "$config"
if running; then
  systemctl daemon-reload
  systemctl enable streamdet.service
  systemctl restart --no-block streamdet.service
  echo "installed; systemctl status streamdet shows the state of its sources"
else
  echo "installed; not started, because systemd is not running"
fi
