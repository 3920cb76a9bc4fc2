#!/bin/sh
# Runs a worker, and ends it in the order that loses no work: its runs first, which save their step, and then the worker.
# Prefect's worker, told to stop, waits for its runs, which have hours to go; told together with them, it kills them.
# shellcheck disable=SC2329  # what a trap calls
set -eu

# A shell without job control has what it starts in the background ignore SIGINT, by which Prefect's worker ends itself.
env --default-signal=INT "$@" &
worker=$!

runs() { cat /proc/"$worker"/task/*/children 2>/dev/null || true; }

stop() {
    trap '' TERM INT
    told=" "
    while left=$(runs) && [ -n "$left" ]; do
        for run in $left; do # the worker may take one more meanwhile; each is told once, since twice would kill it
            case "$told" in *" $run "*) continue ;; esac
            told="$told$run "
            kill -TERM "$run" 2>/dev/null || true
        done
        sleep 0.2
    done
    kill -TERM "$worker" 2>/dev/null || true
}
trap stop TERM INT

# A signal ends the first wait; the second has the worker's own exit code.
code=0
wait "$worker" || code=$?
if kill -0 "$worker" 2>/dev/null; then
    code=0
    wait "$worker" || code=$?
fi
exit "$code"
