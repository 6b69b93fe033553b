#!/usr/bin/env bash
# Fail on layout that clang-format would change, long lines, files and functions, a folder without
# its README plate, left-over marks, paths of one machine, and sources that no CMake list names.
set -euo pipefail
cd "$(dirname "$0")/.."
bad=0
complain() { echo "$1"; bad=1; }

# listed PATTERN...: files git knows or would add, those deleted but not yet committed left out.
listed() {
    git ls-files -co --exclude-standard -- "$@" |
        while IFS= read -r f; do [ ! -f "$f" ] || echo "$f"; done
}

mapfile -t code < <(listed '*.c' '*.h' '*.inc')
[ ${#code[@]} -gt 0 ] || { echo "no source files; is this a git tree?"; exit 1; }

clang-format --dry-run -Werror "${code[@]}" || bad=1

for f in "${code[@]}"; do
    case $f in tests/*) limit=1200 ;; *) limit=800 ;; esac
    lines=$(wc -l <"$f")
    [ "$lines" -le $limit ] || complain "$f: $lines lines (limit $limit)"
    case $f in
    *.c)
        folder=$(dirname "$f")
        grep -qsw "$(basename "$f" .c)" "$folder/CMakeLists.txt" "${folder%/*}/CMakeLists.txt" ||
            complain "$f: no CMakeLists.txt names it"
        ;;
    esac
done

mapfile -t lines_of < <(listed '*.c' '*.h' '*.inc' '*.py' '*.sh' '*CMakeLists.txt' 'scripts/*' \
    ':!scripts/*.md')
while IFS= read -r hit; do
    complain "longer than 100 columns: ${hit:0:120}"
done < <(LC_ALL=C.UTF-8 grep -nHE '^.{101,}' "${lines_of[@]}" || true)

# Functions of the five floors: 70 lines; kernels may be longer with a reason in the file's opening
# comment ("Long functions: ...").
for f in "${code[@]}"; do
    case $f in tests/*) continue ;; esac
    grep -q 'Long functions:' <(head -40 "$f") && continue
    awk -v file="$f" '
        /^\{/ { start = NR }
        /^\}/ {
            if (start && NR - start > 70) {
                print file ":" start ": function of " NR - start " lines"
                bad = 1
            }
            start = 0
        }
        END { exit bad }' "$f" || bad=1
done

mapfile -t text < <(listed '*.c' '*.h' '*.inc' '*.py' '*.sh' '*.md' '*.txt' 'scripts/*' \
    ':!scripts/check_style.sh' ':!tests/data/*/corpus_eval.txt')
while IFS= read -r hit; do
    complain "left-over mark: $hit"
done < <(grep -nHwE 'T[O]DO|F[I]XME|X[X]X|H[A]CK' "${text[@]}" || true)
while IFS= read -r hit; do
    complain "path of one machine: $hit"
done < <(grep -nHE '(^|[^A-Za-z0-9_.])/(work|root|home|Users)/' "${text[@]}" || true)

while IFS= read -r folder; do
    [ -f "$folder/README.md" ] || complain "$folder: no README.md plate"
done < <(listed proto kernels shard worker coordinator tests scripts docs |
    sed 's,/[^/]*$,,' | sort -u | grep -vE '^tests/data/')

exit $bad
