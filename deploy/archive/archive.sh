#!/bin/sh
# Adds the events that arrived since the last run to an archive of Parquet files.
#
# usage: archive.sh DIRECTORY [OPTION OF `vctl session export`]...
#
# It needs `vctl` with a login that has the policy `vctl-auditor`, and `duckdb` 1.4 or newer.
set -eu
umask 077
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cd -- "${1:?usage: archive.sh DIRECTORY [OPTION]...}"
shift
# A second run would add lines to a file that this one removes.
exec 9> archive.lock
flock --nonblock 9 || { echo "archive.sh: another run uses $PWD" >&2; exit 1; }
# Half a line of an export that was killed. The export sends its event again.
if [ -s new.jsonl ] && [ "$(tail -c 1 new.jsonl | wc -l)" -eq 0 ]; then
    sed -i '$ d' new.jsonl
fi
vctl session export --checkpoint session.pos "$@" >> new.jsonl
[ -s new.jsonl ] || exit 0
# Left by a run that was killed.
rm -rf packing
duckdb -bail -f "$here/pack.sql" || {
    echo "archive.sh: the lines stay in $PWD/new.jsonl; if one is not JSON, move that line to another file" >&2
    exit 1
}
for directory in packing/*; do
    day=parquet/${directory##*/}
    mkdir -p "$day"
    # A rename: a reader never sees half a file.
    mv -- "$directory"/* "$day"
done
# The lines may go only when the files are on disk.
sync -f parquet
rm new.jsonl
