#!/usr/bin/env bash
# Open the studio with the digits experiment; without a display, train it here and draw its figures.
set -euo pipefail
cd "$(dirname "$0")/.."

# A display that is named but does not answer, as after an ssh without it, would make Qt abort: ask it in a process apart.
answers() {
    .venv/bin/python -c 'from PySide6.QtGui import QGuiApplication; QGuiApplication([])' >/dev/null 2>&1
}

if [ "$(uname)" = Darwin ] || { [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && answers; }; then
    exec .venv/bin/nfkd-gui digits
fi

echo "There is no display that answers: training the digits experiment here. With one, this command opens the studio."
run=runs/digits
for ((number = 2; ; number++)); do
    [ -e "$run" ] || break
    run="runs/digits-$number"
done
.venv/bin/nfkd run digits --out "$run"
.venv/bin/nfkd export "$run" --figures
echo "Every curve and picture is in $run/run.h5, the figures are in $run/figures; \`.venv/bin/nfkd show $run\` prints the table."
