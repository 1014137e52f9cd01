#!/usr/bin/env bash
# State what was judged, sign it, and see that the signature and the bytes to be released are those of the statement.
set -euo pipefail
. "$GITHUB_ACTION_PATH/../gate/safe.sh"

case $STATEMENT in *[[:cntrl:]]*) echo "::error title=unlearn-guard::the statement's name has a control character"; exit 4 ;; esac
secret=$(mktemp -d)
trap 'rm -rf -- "$secret"' EXIT
if [ -n "${KEY:-}" ]; then
  (umask 077 && printf '%s\n' "$KEY" > "$secret/private.pem")
  unset KEY
  openssl pkey -in "$secret/private.pem" -pubout -out "$secret/public.pem"
  guard attest --out "$STATEMENT" --candidate "$RELEASE" --key "$secret/private.pem" -- "$RUN"
  guard verify --public-key "$secret/public.pem" -- "$STATEMENT" "$RELEASE" # its status is the verdict's
  guard report --statement "$STATEMENT" --public-key "$secret/public.pem" --html "$RUN/report.html" -- "$RUN"
else
  guard attest --out "$STATEMENT" --candidate "$RELEASE" -- "$RUN"
  guard verify -- "$STATEMENT" "$RELEASE"
  python -P -m model_signing sign sigstore "$STATEMENT" --signature "$STATEMENT.sig" --use_ambient_credentials
fi
printf '%s\n' "statement=$STATEMENT" "signature=$STATEMENT.sig" >> "$GITHUB_OUTPUT"
