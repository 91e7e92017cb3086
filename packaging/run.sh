#!/usr/bin/env bash
# Open the studio with the digits experiment; without a display, train it here and draw its figures.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname)" = Darwin ] || [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
    exec .venv/bin/nfkd-gui digits
fi

echo "There is no display: training the digits experiment here. With one, this command opens the studio."
run=runs/digits
for ((number = 2; ; number++)); do
    [ -e "$run" ] || break
    run="runs/digits-$number"
done
.venv/bin/nfkd run digits --out "$run"
.venv/bin/nfkd export "$run" --figures
echo "Every curve and picture is in $run/run.h5, the figures are in $run/figures; \`.venv/bin/nfkd show $run\` prints the table."
