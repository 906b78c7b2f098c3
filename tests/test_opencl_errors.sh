#!/bin/sh
# test_opencl_errors.sh: every function of OpenCL that the program calls fails in turn, at its first and at its
# last call of a small run, or, with SITES=N, at N calls spread over all: one line and exit code 4, or, where
# the program can do without, the same run. Averaged weights and a profile are there for the functions that
# these alone call.
. "$(dirname "$0")/run_help.sh"
[ -e "$build/faults.so" ] || { echo "skip opencl_errors no $build/faults.so (make tests)"; exit 0; }

cat > exp.yaml <<END
name: small
data: {set: demo, root: $dir/data, train: a/train, eval: a/test, workers: 1}
model: {arch: vit, image: 32, patch: 16, dim: 16, depth: 1, heads: 2, drop_path: off}
train: {epochs: 1, batch: 256, steps: 2, ema: 0.5, profile: 1}
optim: {lr: 1e-3, layer_decay: off}
schedule: {warmup_epochs: off}
eval: {every: 1, batch: 250}
END
"$jetcl" run exp.yaml --out whole >/dev/null 2>&1; ok $? "a run"
faulty() { # faulty OUT FAULT VARIABLE=VALUE...
    out=$1 fault=$2; shift 2; rm -rf "$out"
    env LD_PRELOAD="$build/faults.so" FAULT="$fault" "$@" "$jetcl" run exp.yaml --out "$out" -q 2>&1 </dev/null
}
# What else a function takes to be called: a cache of binaries that is empty, or full; a build log that is read.
settings() {
    case $1 in
        clGetProgramInfo) rm -rf new; echo JETCL_TRACE=binaries JETCL_CACHE_DIR=new ;;
        clCreateProgramWithBinary) echo JETCL_TRACE=binaries JETCL_CACHE_DIR=kept ;;
        clGetProgramBuildInfo) echo JETCL_TRACE=kernel,file:trace ;;
        *) echo JETCL_TRACE= ;;
    esac
}
faulty filled "" JETCL_TRACE=binaries JETCL_CACHE_DIR=kept >/dev/null
faulty counted "" JETCL_TRACE= FAULT_COUNT=usual >/dev/null
faulty traced "" JETCL_TRACE=kernel,file:trace >/dev/null
[ -s trace ] && ! grep 'own header of built-in' trace; ok $? "kernels call what cl/builtins.h has"
for function in $(sed -n 's/^CL[_NEW]*(\(cl[A-Za-z]*\),.*/\1/p' "$here/tests/faults.c" | sort -u); do
    more=$(settings "$function") counts=usual
    if [ "$more" != JETCL_TRACE= ]; then
        counts=own
        faulty counted "" $more FAULT_COUNT=own >/dev/null
    fi
    calls=$(sed -n "s/^$function //p" $counts)
    sites=$(awk -v n="${calls:-0}" -v k="${SITES:-2}" 'BEGIN { n += 0; k = k > n ? n : k
        for (i = 0; i < k; i++) print (k > 1 ? 1 + int(i * (n - 1) / (k - 1)) : 1) }')
    bad=
    for n in $sites; do
        more=$(settings "$function")
        text=$(faulty failed "$function:$n:fail" $more); code=$?
        lines=$(echo "$text" | grep -c '^jetcl: ')
        case $code in
            0) cmp -s whole/ckpt/last.state failed/ckpt/last.state || bad="$bad; call $n: other bits" ;;
            4) [ "$lines" = 1 ] || bad="$bad; call $n: $lines lines: $text" ;;
            *) bad="$bad; call $n: exit $code: $text" ;;
        esac
    done
    [ -n "$sites" ] || bad="; it is not called"
    [ -z "$bad" ]; ok $? "$function fails, $(echo $sites | wc -w) of $calls calls" "$bad"
done
