#!/bin/sh
# test_races.sh: kernels of both classes under Oclgrind, which sees reads and writes out of bounds, data races,
# and wrong calls of OpenCL: every op's, fused ones, the feed's, and those of initial values. Small sizes: it
# runs a million operations a second.
build=${JETCL_BUILD:-build}
[ -n "${RACES:-}" ] || { echo "skip races takes a quarter of an hour: make check-races"; exit 0; }
command -v oclgrind >/dev/null || { echo "skip races no oclgrind"; exit 0; }
grep -q __asan_init "$build/tests/test_ops" && {
    echo "skip races both oclgrind and the sanitizer must be loaded first"; exit 0; }
failed=0
check() {                                      # TEST CLASS
    log=$build/log/races-$1-$2.txt
    rm -f "$log"
    JETCL_FAKE=joins=0 TINY=1 JETCL_CLASS=$2 JETCL_DEVICE= oclgrind --data-races --check-api --log "$log" \
        "$build/tests/test_$1" >"$log.out" 2>&1
    if [ $? -eq 0 ] && [ -f "$log" ] && [ ! -s "$log" ]; then
        echo "ok test_$1, kernels of class $2"
    else
        echo "not ok test_$1, kernels of class $2"
        head -n 40 "$log" "$log.out"
        failed=1
    fi
}
for test in ops feed fuse init; do
    for class in cpu gpu; do
        check $test $class
    done
done
exit $failed
