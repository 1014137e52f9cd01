#!/usr/bin/env bash
# Install the package that is asked for, by pip itself.
set -euo pipefail
. "$GITHUB_ACTION_PATH/safe.sh"

read -ra more <<< "$PIP_MORE"
python -P -m pip install --disable-pip-version-check "${more[@]}" "$PACKAGE"
