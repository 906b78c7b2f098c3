#!/bin/sh
# test_races.sh: every op's kernels of both classes under Oclgrind, which sees reads and writes out of bounds, data races, and
# wrong calls of OpenCL. Small sizes: it runs a million operations a second.
build=${JETCL_BUILD:-build}
command -v oclgrind >/dev/null || { echo "skip races no oclgrind"; exit 0; }
failed=0
for class in cpu gpu; do
    log=$build/log/races-$class.txt
    rm -f "$log"
    TINY=1 JETCL_CLASS=$class JETCL_DEVICE= oclgrind --data-races --check-api --log "$log" "$build/tests/test_ops" >"$log.out" 2>&1
    rc=$?
    if [ $rc -eq 0 ] && [ -f "$log" ] && [ ! -s "$log" ]; then
        echo "ok kernels of class $class"
    else
        echo "not ok kernels of class $class"
        head -n 40 "$log" "$log.out"
        failed=1
    fi
done
exit $failed
