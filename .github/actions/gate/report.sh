#!/usr/bin/env bash
# Put the verdict where people look: the step summary, the policy's lines, SARIF in the run directory.
set -euo pipefail
. "$GITHUB_ACTION_PATH/safe.sh"

if [ "$VERDICT" = error ] || [ -z "$VERDICT" ]; then
  echo "## ? No verdict" >> "$GITHUB_STEP_SUMMARY"
  echo "The check ended with status ${STATUS:-unknown} and without a verdict; its log says why. Nothing may be released on it." >> "$GITHUB_STEP_SUMMARY"
  exit 0
fi
guard report --annotations --html "$OUT/report.html" --items "$OUT/report.items.html" --sarif "$OUT/report.sarif" \
  --markdown "$OUT/report.md" --badge "$OUT/report.badge.svg" -- "$OUT"
cat -- "$OUT/report.md" >> "$GITHUB_STEP_SUMMARY"
