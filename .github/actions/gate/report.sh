#!/usr/bin/env bash
# Put the verdict where people look: the step summary, the policy's lines, SARIF in the run directory.
set -euo pipefail
export PYTHONSAFEPATH=1 # `-P`: a folder of the workspace never stands in for a module

if [ "$VERDICT" = error ] || [ -z "$VERDICT" ]; then
  echo "## ? No verdict" >> "$GITHUB_STEP_SUMMARY"
  echo "The check ended with status ${STATUS:-unknown} before there was a verdict; its log says why. Nothing may be released on it." >> "$GITHUB_STEP_SUMMARY"
  exit 0
fi
python -m unlearn_guard report "$OUT" --annotations --html "$OUT/report.html" --sarif "$OUT/report.sarif" --markdown "$OUT/report.md"
cat "$OUT/report.md" >> "$GITHUB_STEP_SUMMARY"
