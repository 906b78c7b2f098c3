#!/bin/sh
# test_opencl_errors.sh: every function of OpenCL fails in turn, at its first and at its last call of a small
# run, or, with SITES=N, at N calls spread over all: one line and exit code 4, or, where the program can do
# without, the same run.
. "$(dirname "$0")/run_help.sh"
[ -e "$build/faults.so" ] || { echo "skip opencl_errors no $build/faults.so (make tests)"; exit 0; }

cat > exp.yaml <<END
name: small
data: {set: demo, root: $dir/data, train: a/train, eval: a/test, workers: 1}
model: {arch: vit, image: 32, patch: 16, dim: 16, depth: 1, heads: 2, drop_path: off}
train: {epochs: 1, batch: 256, steps: 2}
optim: {lr: 1e-3, layer_decay: off}
schedule: {warmup_epochs: off}
eval: {every: 1, batch: 250}
END
"$jetcl" run exp.yaml --out whole >/dev/null 2>&1; ok $? "a run"
faulty() { # faulty OUT FAULT VARIABLE=VALUE...
    out=$1 fault=$2; shift 2; rm -rf "$out"
    env LD_PRELOAD="$build/faults.so" FAULT="$fault" "$@" "$jetcl" run exp.yaml --out "$out" -q 2>&1 </dev/null
}
functions=$(sed -n 's/^CL[_NEW]*(\(cl[A-Za-z]*\),.*/\1/p' "$here/tests/faults.c" | sort -u)
for function in $functions; do
    rm -f count; faulty counted "$function:0:fail" FAULT_COUNT=count >/dev/null
    calls=$(cat count 2>/dev/null || echo 0)
    [ "$calls" -gt 0 ] || { echo "skip $function is not called in this run"; continue; }
    sites=$(awk -v n="$calls" -v k="${SITES:-2}" 'BEGIN { k = k > n ? n : k
        for (i = 0; i < k; i++) print k > 1 ? 1 + int(i * (n - 1) / (k - 1)) : 1 }')
    bad=
    for n in $sites; do
        text=$(faulty failed "$function:$n:fail"); code=$?
        lines=$(echo "$text" | grep -c '^jetcl: ')
        case $code in
            0) cmp -s whole/ckpt/last.state failed/ckpt/last.state || bad="$bad; call $n: other bits" ;;
            4) [ "$lines" = 1 ] || bad="$bad; call $n: $lines lines: $text" ;;
            *) bad="$bad; call $n: exit $code: $text" ;;
        esac
    done
    [ -z "$bad" ]; ok $? "$function fails, $(echo $sites | wc -w) of $calls calls" "$bad"
done
