#!/usr/bin/env bash
# One comment on the pull request for this job and run directory, written once and then updated. That it cannot be
# written, as in a fork's pull request, is a warning: the verdict stands by itself.
set -uo pipefail
. "$GITHUB_ACTION_PATH/safe.sh"

[[ ${GITHUB_REF:-} =~ ^refs/pull/([0-9]+)/ ]] || exit 0
number=${BASH_REMATCH[1]}
warn() {
  echo "::warning title=unlearn-guard::the pull request's comment was not written; comment-token needs pull-requests: write"
  exit 0
}

name=$(printf '%s\n' "${GITHUB_WORKFLOW:-}" "${GITHUB_JOB:-}" "$OUT" | sha256sum | cut -c1-16)
marker="<!-- unlearn-guard $name -->"
body=$(mktemp) || warn
trap 'rm -f -- "$body"' EXIT
{
  echo "$marker"
  if [ "${VERDICT:-error}" = error ]; then
    echo "## ? No verdict"
    echo "The check ended without a verdict; its log says why. Nothing may be released on it."
  else
    cat -- "$OUT/report.md"
  fi
} > "$body" || warn

comments="repos/$GITHUB_REPOSITORY/issues/$number/comments"
# Only a bot's: what somebody else wrote is never written over, whatever it begins with.
earlier=$(gh api --paginate "$comments" --jq \
  ".[] | select(.user.type == \"Bot\" and (.body | startswith(\"$marker\"))) | .id") || warn
earlier=${earlier%%$'\n'*}
if [[ $earlier =~ ^[0-9]+$ ]]; then
  gh api --silent -X PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$earlier" -F "body=@$body" || warn
else
  gh api --silent -X POST "$comments" -F "body=@$body" || warn
fi
