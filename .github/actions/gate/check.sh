#!/usr/bin/env bash
# Measure and judge; the verdict and the exit status go to the step's outputs, and the last step of the action fails on them.
set -uo pipefail
export PYTHONSAFEPATH=1 # `-P`: a folder of the workspace never stands in for a module

arguments=(check --out "$OUT" --quiet)
[ -z "${BASE:-}" ] || arguments+=(--base "$BASE")
[ -z "${SUITE:-}" ] || arguments+=(--suite "$SUITE")
[ -z "${THRESHOLDS:-}" ] || arguments+=(--thresholds "$THRESHOLDS")
[ -z "${PRECISIONS:-}" ] || arguments+=(--precisions "$PRECISIONS")

# `--`: a checkpoint's name is never an option.
python -m unlearn_guard "${arguments[@]}" -- "$CHECKPOINT"
status=$?
case $status in
  0) verdict=passed ;;
  1) verdict=failed ;;
  5) verdict=incomplete ;;
  *) verdict=error ;;
esac
# A name that reaches the outputs must be one line: a second one would be an output of its own.
case $OUT in
  *$'\n'* | *$'\r'*) echo "::error::the run directory's name has a line break"; OUT=; verdict=error; status=4 ;;
esac
{
  echo "verdict=$verdict"
  echo "status=$status"
  echo "run-directory=$OUT"
} >> "$GITHUB_OUTPUT"
