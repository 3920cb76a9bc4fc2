#!/bin/sh
# Every image's first process. The folders are made here, since a volume that is mounted on the state may be empty.
# tini passes signals to the whole group (-g): a worker that alone is told to stop waits for its run, which has hours to
# go; told as well, the run saves its step and ends.
set -eu
mkdir -p /var/lib/deepscaler/runs /var/lib/deepscaler/prefect /var/lib/deepscaler/cache
exec tini -g -- "$@"
