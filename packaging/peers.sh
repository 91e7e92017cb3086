#!/usr/bin/env bash
# Create build/peers-env: the libraries of packaging/peers.txt, with everything else from .venv, which is not changed.
#
# All libraries thus run in one process with the same torch. A stamp file records the set-up.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly environment=build/peers-env
fingerprint="$({ cat packaging/peers.txt packaging/peers.sh && readlink -f .venv; } | cksum)"
readonly fingerprint
if [ "$(cat "$environment/.peers" 2>/dev/null)" = "$fingerprint" ]; then exit 0; fi

echo "peers: installing the libraries of packaging/peers.txt into $environment"
.venv/bin/python -m venv --clear --without-pip "$environment"
packages="$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$packages/studio.pth"
.venv/bin/python -m pip --python "$environment/bin/python" install -qq --no-input --disable-pip-version-check \
    --ignore-installed --no-deps --requirement packaging/peers.txt
echo "$fingerprint" >"$environment/.peers"
