#!/usr/bin/env bash
# Open the studio with the digits experiment; without a display, run the experiment here and export its figures.
set -euo pipefail
cd "$(dirname "$0")/.."

# Qt aborts if the display does not respond (as after ssh without X forwarding), so test it in a separate process.
display_works() {
    .venv/bin/python -c 'from PySide6.QtGui import QGuiApplication; QGuiApplication([])' >/dev/null 2>&1
}

if [ "$(uname)" = Darwin ] || { [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && display_works; }; then
    exec .venv/bin/nfkd-gui digits
fi

echo "No working display: running the digits experiment here. With a display, this command opens the studio."
run=runs/digits
for ((number = 2; ; number++)); do
    [ -e "$run" ] || break
    run="runs/digits-$number"
done
.venv/bin/nfkd run digits --out "$run"
.venv/bin/nfkd export "$run" --figures
echo "Curves and pictures are in $run/run.h5, figures in $run/figures; \`.venv/bin/nfkd show $run\` prints the table."
