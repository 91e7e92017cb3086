#!/usr/bin/env bash
# Create .venv with everything that the studio needs (gui), or also the development tools (dev).
#
#   packaging/setup.sh [gui|dev]
#
#   NFKD_PYTHON       the Python to use (3.11 or newer); by default the first one found
#   NFKD_TORCH_INDEX  a package index to take torch from, such as https://download.pytorch.org/whl/cpu
#
# A stamp file in .venv records the set-up, so that a second call ends at once.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly what="${1:-gui}"
readonly venv=.venv
case "$what" in
gui) extras='gui' ;;
dev) extras='gui,dev' ;;
*)
    echo "usage: packaging/setup.sh [gui|dev]" >&2
    exit 2
    ;;
esac

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# --- stamp files -----------------------------------------------------------------------------------------------------

fingerprint() {
    { cat pyproject.toml packaging/constraints.txt packaging/setup.sh && echo "${NFKD_PYTHON:-}"; } | cksum
}

ready() { # whether any of the given set-ups is up to date
    local stamp
    "$venv/bin/python" -c '' 2>/dev/null || return 1
    for stamp in "$@"; do
        [ "$(cat "$venv/.nfkd-$stamp" 2>/dev/null)" = "$(fingerprint)" ] && return 0
    done
    return 1
}

if [ "$what" = gui ] && ready gui dev; then exit 0; fi
if [ "$what" = dev ] && ready dev; then exit 0; fi

# --- Python ----------------------------------------------------------------------------------------------------------

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
has_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

find_python() { # the first that is new enough, preferably one that can create an environment
    local candidate fallback=''
    for candidate in ${NFKD_PYTHON:-python3.11 python3.12 python3.13 python3.14 python3 /usr/bin/python3 python}; do
        is_recent "$candidate" || continue
        if has_venv "$candidate"; then
            echo "$candidate"
            return
        fi
        fallback="${fallback:-$candidate}"
    done
    echo "$fallback"
}

python="$(find_python)"
[ -n "$python" ] || fail "Python 3.11 or newer was not found; name it with NFKD_PYTHON=/path/to/python3"

# --- system packages (Debian and relatives) --------------------------------------------------------------------------

# System libraries that Qt's wheels need, with Debian's packages.
readonly libraries='
libEGL.so.1:libegl1                             libGL.so.1:libgl1
libfontconfig.so.1:libfontconfig1               libdbus-1.so.3:libdbus-1-3
libglib-2.0.so.0:libglib2.0-0                   libxkbcommon.so.0:libxkbcommon0
libxkbcommon-x11.so.0:libxkbcommon-x11-0        libX11-xcb.so.1:libx11-xcb1
libxcb-cursor.so.0:libxcb-cursor0               libxcb-icccm.so.4:libxcb-icccm4
libxcb-image.so.0:libxcb-image0                 libxcb-keysyms.so.1:libxcb-keysyms1
libxcb-randr.so.0:libxcb-randr0                 libxcb-render-util.so.0:libxcb-render-util0
libxcb-shape.so.0:libxcb-shape0                 libxcb-shm.so.0:libxcb-shm0
libxcb-sync.so.1:libxcb-sync1                   libxcb-xfixes.so.0:libxcb-xfixes0
libxcb-xinerama.so.0:libxcb-xinerama0           libxcb-xkb.so.1:libxcb-xkb1
libwayland-client.so.0:libwayland-client0       libwayland-cursor.so.0:libwayland-cursor0
libwayland-egl.so.1:libwayland-egl1
'

missing_packages() {
    local known pair
    has_venv "$python" || "$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
    [ "$(uname)" = Linux ] || return 0
    known="$(/sbin/ldconfig -p 2>/dev/null || ldconfig -p)"
    for pair in $libraries; do
        grep -qF "${pair%%:*} " <<<"$known" || echo "${pair##*:}"
    done
    ls /usr/share/fonts/*/* >/dev/null 2>&1 || echo fonts-dejavu-core
    if [ "$what" = dev ] && ! command -v Xvfb >/dev/null; then echo xvfb; fi
    if [ "$what" = dev ] && ! command -v ssh >/dev/null; then echo openssh-client; fi
    if [ "$what" = dev ] && ! PATH="$PATH:/usr/sbin" command -v sshd >/dev/null; then echo openssh-server; fi
}

install_packages() { # as root, or with sudo if it needs no password
    local -a apt=(env DEBIAN_FRONTEND=noninteractive apt-get)
    [ "$(id -u)" = 0 ] || apt=(sudo -n "${apt[@]}")
    command -v apt-get >/dev/null || return 1
    "${apt[@]}" --version >/dev/null 2>&1 || return 1
    say "installing $*"
    "${apt[@]}" install -y -qq --no-install-recommends "$@" </dev/null >/dev/null 2>&1 && return
    "${apt[@]}" update -qq </dev/null && "${apt[@]}" install -y -qq --no-install-recommends "$@" </dev/null
}

complete=yes
# shellcheck disable=SC2046  # package names have no blanks
set -- $(missing_packages)
if [ $# -gt 0 ] && ! install_packages "$@"; then
    complete=no
    say 'some system packages are missing; install them with this command (or their counterparts on other systems):'
    echo "    sudo apt-get install --no-install-recommends $*"
    has_venv "$python" || fail "$python cannot create an environment without them"
    [ "$what" = gui ] || fail 'the tests need them'
    say 'continuing without them: the studio will not start, but training in the terminal works'
fi

# The studio's font, where there is a package of it; without it the studio takes the system's font.
if [ ! -e /usr/share/fonts/opentype/inter ] && apt-cache show fonts-inter >/dev/null 2>&1; then
    install_packages fonts-inter || say 'the font Inter was not installed; the studio uses the font of the system'
fi

# --- environment -----------------------------------------------------------------------------------------------------

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    say "creating $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi

pip() { # prints only errors
    "$venv/bin/python" -m pip "$@" -qq --no-input --disable-pip-version-check --constraint packaging/constraints.txt
}

say "installing torch and its dependencies (once; this can take minutes)"
pip install ${NFKD_TORCH_INDEX:+--extra-index-url "$NFKD_TORCH_INDEX"} torch==2.13.0 hatchling editables
say "installing NFKD [$extras]"
pip install --no-build-isolation --editable ".[$extras]"

if [ $complete = yes ]; then fingerprint >"$venv/.nfkd-$what"; fi
say "ready"
