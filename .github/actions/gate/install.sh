#!/usr/bin/env bash
# Install torch, then the package that is asked for, by pip itself.
set -euo pipefail
. "$GITHUB_ACTION_PATH/safe.sh"

read -ra more <<< "$PIP_MORE"
[ -z "${CONSTRAINTS:-}" ] || more+=(-c "$CONSTRAINTS")
install() { python -P -m pip install --disable-pip-version-check "${more[@]}" "$@"; }
if [ -z "${TORCH:-}" ] && [[ $PACKAGE == unlearn-guard* ]]; then TORCH=torch; fi
[ -z "${TORCH:-}" ] || install "$TORCH"
install "$PACKAGE"
