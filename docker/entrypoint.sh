#!/bin/sh
# Every image's first process. The folders are made here, since a volume that is mounted on the state may be empty.
set -eu
mkdir -p /var/lib/deepscaler/runs /var/lib/deepscaler/prefect /var/lib/deepscaler/cache
case "$1 ${2-}" in
    "prefect worker") exec tini -- /opt/deepscaler/docker/supervise.sh "$@" ;;
    *) exec tini -- "$@" ;;
esac
