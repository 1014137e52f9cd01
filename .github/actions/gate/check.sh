#!/usr/bin/env bash
# Measure and judge; what is true of the run then goes to the step's outputs, and the last step of the action fails on it.
set -uo pipefail
. "$GITHUB_ACTION_PATH/safe.sh"

OUT=${OUT:-unlearn-guard-run}
while [[ $OUT == ?*/ ]]; do OUT=${OUT%/}; done

# The outputs of a check without a verdict: its exit status, and a reason where the check itself gave none.
no_verdict() {
  [ -z "${2:-}" ] || echo "::error title=unlearn-guard::$2"
  printf '%s\n' "verdict=error" "status=$1" "run-directory=$OUT" >> "$GITHUB_OUTPUT"
  exit 0
}

# A name that reaches the outputs must be one line, to whoever reads them: a second one would be an output of its own.
LC_ALL=C
case $OUT in
  *[[:cntrl:]]* | *$'\xc2\x85'* | *$'\xe2\x80\xa8'* | *$'\xe2\x80\xa9'*)
    OUT=
    no_verdict 4 "the run directory's name has a line break or a control character"
    ;;
esac
unset LC_ALL

# The run directory is the action's own. A link there is not followed, and no verdict stands in it but this check's.
if [ "${REPLACE:-true}" != true ] && [ -e "$OUT" ]; then no_verdict 4 "$OUT is there already, and replace is not true"; fi
[ ! -L "$OUT" ] || rm -f -- "$OUT"
rm -rf -- "$OUT/run.json" "$OUT/.earlier" "$OUT"/report.*
if [ -e "$OUT/run.json" ] || [ -L "$OUT/run.json" ]; then no_verdict 3 "an earlier run cannot be taken away"; fi

# Kept between jobs only under a secret of the caller's: whoever can write to the cache must not know it.
if [ -n "${STORE_KEY:-}" ]; then
  temporary=${RUNNER_TEMP:-$(mktemp -d)}
  export UNLEARN_GUARD_CACHE=$temporary/unlearn-guard-store UNLEARN_GUARD_CACHE_KEY
  UNLEARN_GUARD_CACHE_KEY=$(umask 077 && mktemp "$temporary/unlearn-guard-key.XXXXXX") || no_verdict 3 "there is no place for the store's key"
  trap 'rm -f -- "$UNLEARN_GUARD_CACHE_KEY"' EXIT
  printf '%s' "$STORE_KEY" > "$UNLEARN_GUARD_CACHE_KEY"
  unset STORE_KEY
fi

arguments=(check --out "$OUT" --replace)
[ -z "${RELEASE:-}" ] || arguments+=(--release "$RELEASE")
[ -z "${BASE:-}" ] || arguments+=(--base "$BASE")
[ -z "${SUITE:-}" ] || arguments+=(--suite "$SUITE")
[ -z "${THRESHOLDS:-}" ] || arguments+=(--thresholds "$THRESHOLDS")
[ -z "${PRECISIONS:-}" ] || arguments+=(--precisions "$PRECISIONS")
[ -z "${DATA_DIR:-}" ] || arguments+=(--data-dir "$DATA_DIR")
[ -z "${TASKS_DIR:-}" ] || arguments+=(--tasks-dir "$TASKS_DIR")
[ -z "${DEVICE:-}" ] || arguments+=(--device "$DEVICE")
[ -z "${BATCH_SIZE:-}" ] || arguments+=(--batch-size "$BATCH_SIZE")
[ -z "${SEAL:-}" ] || arguments+=(--seal "$SEAL")
[ "${CHAT_TEMPLATE:-}" != true ] || arguments+=(--apply-chat-template)
read -ra artifacts <<< "${ARTIFACTS:-}"
for artifact in "${artifacts[@]}"; do arguments+=(--artifact "$artifact"); done
# Folded in the log, and nothing in there is a command to the runner, whatever a checkpoint is called.
token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
echo "::group::unlearn-guard check"
echo "::stop-commands::$token"
guard "${arguments[@]}" -- "$CHECKPOINT" # `--`: a checkpoint's name is never an option
status=$?
printf '\n::%s::\n' "$token"
echo "::endgroup::"
case $status in
  0 | 1 | 5) ;;
  *) no_verdict "$status" ;;
esac

# The verdict is what the run directory bears out when it is opened, and only where the check's own status says the same.
told=$(mktemp) || no_verdict 3 "there is no place for a temporary file"
guard report --github-output "$told" -- "$OUT" || no_verdict 3 "the check left no run that can be opened"
while IFS='=' read -r name value; do
  case $name in
    verdict | status | digest | run-digest) declare "read_${name//-/_}=$value" ;;
    *) no_verdict 3 "the run was read back as something else" ;;
  esac
done < "$told"
rm -f -- "$told"
case $status:${read_verdict:-}:${read_status:-} in
  0:passed:0 | 1:failed:1 | 5:incomplete:5) ;;
  *) no_verdict 3 "the check ended with $status, but its run directory says ${read_verdict:-nothing}" ;;
esac
printf '%s\n' "verdict=$read_verdict" "status=$status" "run-directory=$OUT" \
  "digest=$read_digest" "run-digest=$read_run_digest" >> "$GITHUB_OUTPUT"
