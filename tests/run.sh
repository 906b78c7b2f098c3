#!/bin/sh
# run.sh BUILD [NAME...]: runs every test binary and every test_*.sh, prints what failed, ends in "N passed,
# N failed, N skipped". A script prints "ok NAME", "not ok NAME" or "skip NAME why" per check; binaries print
# cmocka's lines.
build=$1; shift
here=$(dirname "$0")
export JETCL_BUILD="$build" JETCL_CACHE_DIR="${JETCL_CACHE_DIR:-$build/cache}"
export POCL_CACHE_DIR="${POCL_CACHE_DIR:-$build/pocl-cache}"
# Nothing of the user's: no settings, no data sets, no results that earlier runs kept.
unset JETCL_DATA JETCL_LOG FORCE_COLOR
export JETCL_CHECK=off                           # no self-test before each training; test_compare has it
export XDG_CONFIG_HOME="$PWD/$build/no-settings"
[ "$JETCL_CACHE_DIR" != "$build/cache" ] || rm -rf "$build/cache"
mkdir -p "$POCL_CACHE_DIR" "$build/log"
passed=0 failed=0 skipped=0 failures=
# cmocka lists failures and skips once more at the end of a group; a script may show a log of cmocka's.
runs() { sed -n '/^\[=*\] Running /,/^\[=*\] .* run\.$/p' "$log"; }
count() { case "$t" in *.sh) grep -c "^$2 " "$log" ;; *) runs | grep -c "^\[ *$1 *\]" ;; esac; }
# why LOG LINES: the end of what is not about a check that passed, and the check that was running last.
why() { grep -v '^\[ RUN\|^\[       OK\|^ok ' "$1" | tail -n "$2"; grep '^\[ RUN' "$1" | tail -n 1; }
for t in "$build"/tests/test_* "$here"/test_*.sh; do
    [ -f "$t" ] || continue
    name=$(basename "${t%.sh}" | sed 's/^test_//')
    case "$name" in *.d|*.o) continue ;; esac
    if [ $# -gt 0 ]; then case " $* " in *" $name "*) ;; *) continue ;; esac; fi
    log="$build/log/$name.txt"
    case "$t" in *.sh) sh "$t" >"$log" 2>&1 </dev/null ;; *) "$t" >"$log" 2>&1 </dev/null ;; esac
    rc=$?
    p=$(count OK ok) f=$(count FAILED "not ok") s=$(count SKIPPED skip)
    [ $rc -ne 0 ] && [ "$f" -eq 0 ] && f=1                # a crash counts
    [ $((p + f + s)) -eq 0 ] && { echo "$name: no check ran"; f=1; }
    printf '%-12s %4d passed, %d failed, %d skipped\n' "$name" "$p" "$f" "$s"
    grep '^skip ' "$log"
    if [ "$f" -gt 0 ]; then
        why "$log" 40
        failures="$failures $name:$rc"
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
for each in $failures; do                                 # once more, where it is seen
    echo "-- ${each%:*} failed, exit ${each#*:} (whole log: $build/log/${each%:*}.txt)"
    why "$build/log/${each%:*}.txt" 8
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
