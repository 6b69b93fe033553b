#!/usr/bin/env bash
# Fail on an include that points upward (proto < kernels < shard < worker < coordinator), on one
# that is not written from the root, on a test header in the program, and on a foreign header
# outside its door.
set -euo pipefail
cd "$(dirname "$0")/.."

floors=(proto kernels shard worker coordinator)
bad=0
complain() { echo "$1"; bad=1; }

# Files of one floor; those that were deleted but not yet committed are left out.
sources() {
    git ls-files -co --exclude-standard -- "$1/*.c" "$1/*.h" "$1/*.cu" "$1/*.inc" |
        while IFS= read -r f; do [ ! -f "$f" ] || echo "$f"; done
}

for i in "${!floors[@]}"; do
    [ -n "$(sources "${floors[i]}")" ] || complain "${floors[i]}: no sources; is this a git tree?"
    for ((j = i + 1; j < ${#floors[@]}; j++)); do
        while IFS= read -r hit; do
            complain "upward include: $hit"
        done < <(sources "${floors[i]}" | xargs -r grep -nH "^ *# *include \"${floors[j]}/" || true)
    done
    while IFS= read -r hit; do
        complain "not root-relative: $hit"
    done < <(sources "${floors[i]}" | xargs -r grep -nHE '^ *# *include "([^/"]+|\.\.?/[^"]*)"' |
        grep -v 'pb-c\.h"' || true)
    while IFS= read -r hit; do
        complain "a test header in the program: $hit"
    done < <(sources "${floors[i]}" | xargs -r grep -nH '^ *# *include "tests/' || true)
done

# door PATTERN ALLOWED: headers matching PATTERN may appear only in files matching ALLOWED.
door() {
    while IFS= read -r hit; do
        [[ "${hit%%:*}" =~ $2 ]] || complain "foreign header outside its door: $hit"
    done < <(for f in "${floors[@]}"; do sources "$f"; done |
        xargs -r grep -nHE "^ *# *include [<\"]$1[>\"]" || true)
}
door '(mpi|mpi-ext)\.h' '^worker/comm_mpi'
door 'nccl\.h' '^worker/comm_nccl|^kernels/cuda/'
door '(cuda|cublas)[^>"]*' '^kernels/cuda/'
door '([^>"]*pb-c\.h|protobuf-c/[^>"]*)' '^proto/wire|^coordinator/text/sentencepiece'
door '(xxhash|xxh_x86dispatch)\.h' '^proto/'
door 'openssl/[^>"]*' '^proto/'
door 'jansson\.h' '^(shard|coordinator)/'
door '(pcre2|utf8proc)\.h' '^coordinator/text/'
door 'yaml\.h' '^coordinator/cli/'
door 'hwloc\.h' '^kernels/topology'

exit $bad
