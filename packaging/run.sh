#!/usr/bin/env bash
# Open the studio with the digits experiment; without a display, train it here and draw its figures.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname)" = Darwin ] || [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
    exec .venv/bin/nfkd-gui digits
fi

echo "There is no display: training the digits experiment here. With one, this command opens the studio."
.venv/bin/nfkd run digits --out runs
# shellcheck disable=SC2012  # the newest of the runs, whose names the program makes
run="$(ls -td runs/*/ | head -n 1)"
.venv/bin/nfkd export "${run%/}" --figures
echo "The run is in ${run%/}: run.h5 with every curve and picture, and the figures as PNG files."
