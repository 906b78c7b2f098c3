#!/bin/sh
# test_races.sh: kernels of both classes under Oclgrind, which sees reads and writes out of bounds, data races,
# and wrong calls of OpenCL: every op's, fused ones, the feed's, and those of initial values. Small sizes: it
# runs a million operations a second, so that all of them are a quarter of an hour (make check-races, RACES=1);
# else a case for each file of cl/ that has one, but the slowest.
build=${TEST_BUILD:-build}
command -v oclgrind >/dev/null || { echo "skip races no oclgrind"; exit 0; }
grep -q __asan_init "$build/tests/test_ops" && {
    echo "skip races both oclgrind and the sanitizer must be loaded first"; exit 0; }
failed=0
check() {                                      # TEST CLASS [CASE]
    log=$build/log/races-$1-$2${3:+-$3}.txt
    rm -f "$log"
    [ -z "${3:-}" ] || export ONLY="$3"
    JETCL_FAKE=joins=0 TINY=1 JETCL_CLASS=$2 JETCL_DEVICE= oclgrind --data-races --check-api --log "$log" \
        "$build/tests/test_$1" >"$log.out" 2>&1
    if [ $? -eq 0 ] && [ -f "$log" ] && [ ! -s "$log" ] && grep -q 'PASSED .* [1-9][0-9]* test' "$log.out"; then
        echo "ok test_$1${3:+ $3}, kernels of class $2"
    else
        echo "not ok test_$1${3:+ $3}, kernels of class $2"
        head -n 40 "$log" "$log.out"
        failed=1
    fi
}
cases="attention cross_entropy depthwise_whole entmax15 l2norm layernorm matmul permute route softmax sum_rows"
for class in cpu gpu; do
    if [ -n "${RACES:-}" ]; then
        for test in ops feed fuse init; do check $test $class; done
    else
        check init $class
        for case in $cases; do (check ops $class "$case"; exit $failed) || failed=1; done
    fi
done
exit $failed
