# Sourced by each step: from here on nothing of the workspace stands in for the guard, pip, or a module that they import.

# `-P` and not the variable alone: a Python before 3.11 does not know it, and would run a folder of the workspace.
guard() { python -P -m unlearn_guard "$@"; }

# Whether a path is relative or lies in the workspace, links followed.
of_the_workspace() {
  local real place
  [[ $1 == /* ]] || return 0
  real=$(realpath -m -- "$1") || return 0
  for place in "$PWD" "${GITHUB_WORKSPACE:-$PWD}"; do
    place=$(realpath -m -- "$place") || return 0
    [[ $real/ == "${place%/}"/* ]] && return 0
  done
  return 1
}

export PYTHONSAFEPATH=1 # for the processes that the guard starts
unset PYTHONSTARTUP PYTHONINSPECT PYTHONBREAKPOINT PYTHONPYCACHEPREFIX "${!PYTEST_@}"
if [ -n "${PYTHONUSERBASE:-}" ] && of_the_workspace "$PYTHONUSERBASE"; then unset PYTHONUSERBASE; fi
kept=
IFS=: read -ra places <<< "${PYTHONPATH:-}"
for place in "${places[@]}"; do
  of_the_workspace "$place" || kept+=${kept:+:}$place
done
unset PYTHONPATH
[ -z "$kept" ] || export PYTHONPATH=$kept
