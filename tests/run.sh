#!/bin/sh
# run.sh BUILD [NAME...]: runs every test binary and every test_*.sh, as many at a time as there are cores
# (JOBS=), prints what failed, ends in "N passed, N failed, N skipped". A script prints "ok NAME", "not ok NAME"
# or "skip NAME why" per check; binaries print cmocka's lines. What runs longer than LIMIT seconds has failed.
build=$1; shift
here=$(dirname "$0")

# Nothing of the user's: no settings, no data sets, no results that earlier runs kept.
surroundings() {
    whole=$(cd "$build" && pwd)                  # tests change folders, and all share what is compiled
    export TEST_BUILD="$build" JETCL_CACHE_DIR="${JETCL_CACHE_DIR:-$whole/cache}"
    export POCL_CACHE_DIR="${POCL_CACHE_DIR:-$whole/pocl-cache}" XDG_CONFIG_HOME="$whole/no-settings"
    export JETCL_CHECK=off                       # no self-test before each training; test_compare has it
    unset JETCL_DATA JETCL_LOG FORCE_COLOR
    [ "$JETCL_CACHE_DIR" != "$whole/cache" ] || rm -rf "$whole/cache"
    mkdir -p "$POCL_CACHE_DIR" "$build/log"
}
# cmocka lists failures and skips once more at the end of a group; a script may show a log of cmocka's.
runs() { sed -n '/^\[=*\] Running /,/^\[=*\] .* run\.$/p' "$log"; }
count() { case "$t" in *.sh) grep -ac "^$2 " "$log" ;; *) runs | grep -c "^\[ *$1 *\]" ;; esac; }
# why LOG LINES: the end of what is not about a check that passed, and the check that was running last.
why() { grep -av '^\[ RUN\|^\[       OK\|^ok ' "$1" | tail -n "$2"; grep '^\[ RUN' "$1" | tail -n 1; }

# one TEST: runs it, prints its line at once, leaves "passed failed skipped exit" in its .count.
one() {
    t=$1 name=$(basename "${1%.sh}" | sed 's/^test_//')
    log=$build/log/$(basename "$1" | sed 's/^test_//').txt limit=${LIMIT:-2400}
    case "$t" in *.sh) shell=sh ;; *) shell= ;; esac
    started=$(date +%s)
    timeout -k 10 "$limit" $shell "$t" >"$log" 2>&1 </dev/null
    rc=$?
    p=$(count OK ok) f=$(count FAILED "not ok") s=$(count SKIPPED skip) note=
    [ $rc -ne 0 ] && [ "$f" -eq 0 ] && f=1                # a crash counts
    [ $rc = 124 ] && note=", stopped after $limit s"
    [ $((p + f + s)) -eq 0 ] && { note="$note, no check ran"; f=1; }
    echo "$p $f $s $rc" >"${log%.txt}.count"
    { printf '%-16s %4d passed, %d failed, %d skipped, %d s%s\n' "$name" "$p" "$f" "$s" \
        $(($(date +%s) - started)) "$note"
      grep '^skip ' "$log"; [ "$f" = 0 ] || why "$log" 40; } >"$log.said"
    cat "$log.said"                                       # in one piece: others print as well
    rm "$log.said"
}

# The tests that were asked for, those that take longest first, so that no core waits at the end.
chosen() {
    for t in "$here"/test_*.sh "$build"/tests/test_*; do
        [ -f "$t" ] || continue
        name=$(basename "${t%.sh}" | sed 's/^test_//')
        case "$name" in *.d|*.o) continue ;; esac
        case " $* " in "  "|*" $name "*) ;; *) continue ;; esac
        case " $first " in *" $name "*) echo "0 $t" ;; *) echo "1 $t" ;; esac
    done | sort -s -k1,1 | cut -d' ' -f2
}
first="ops compare product planted dist resume owner run golden races cli analyse eval fuse"

if [ "$1" = --one ]; then one "$2"; exit; fi
for name in "$@"; do
    [ -f "$here/test_$name.sh" ] || [ -f "$build/tests/test_$name" ] && continue
    echo "run.sh: there is no test $name"; exit 1
done
surroundings
rm -f "$build"/log/*.count
chosen "$@" | xargs -r -n 1 -P "${JOBS:-$(nproc)}" sh "$0" "$build" --one
passed=0 failed=0 skipped=0
for each in "$build"/log/*.count; do
    [ -f "$each" ] || continue
    read -r p f s rc <"$each"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    [ "$f" -gt 0 ] || continue
    echo "-- $(basename "${each%.count}") failed, exit $rc (whole log: ${each%.count}.txt)"
    why "${each%.count}.txt" 8                            # once more, where it is seen
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
