#!/bin/sh
# first_day.sh [DEVICE [REPORT]]: everything worth doing on the day a GPU is there, in under eight minutes, on a
# machine with nothing but its driver; one report. Builds nothing. Rehearsed without one: JETCL_CLASS=gpu
# first_day.sh cpu.
jetcl=${JETCL:-build/jetcl}
device=${1:-gpu}
report=${2:-build/first_day.txt}
end=$(($(date +%s) + ${SECONDS_ALL:-470}))
mkdir -p "$(dirname "$report")"
: >"$report"
# part TITLE SECONDS COMMAND..: its output goes into the report; a failure is noted, and the rest continues.
part() {
    title=$1 most=$2
    shift 2
    left=$((end - $(date +%s)))
    [ "$left" -lt 5 ] && { echo "== $title: no time left" | tee -a "$report"; return; }
    [ "$most" -gt "$left" ] && most=$left
    from=$(date +%s)
    { echo "== $title"; echo "\$ $*"; timeout "$most" "$@" 2>&1; rc=$?; } >>"$report"
    echo "== $title: exit $rc, $(($(date +%s) - from)) s" | tee -a "$report"
}
# A container often has the driver's library but no file that names it to the loader.
if [ "$device" = gpu ] && ! "$jetcl" devices 2>/dev/null | grep -qi 'gpu'; then
    for library in /usr/lib/x86_64-linux-gnu/libnvidia-opencl.so.1 /usr/lib64/libnvidia-opencl.so.1 \
                   /usr/local/nvidia/lib64/libnvidia-opencl.so.1 /opt/rocm/lib/libamdocl64.so; do
        [ -e "$library" ] || continue
        mkdir -p build/icd
        echo "$library" >build/icd/found.icd
        export OCL_ICD_VENDORS=$PWD/build/icd OCL_ICD_FILENAMES=$library
        echo "driver found at $library" | tee -a "$report"
        break
    done
fi
part "devices" 20 "$jetcl" devices
part "driver" 20 sh -c \
    'nvidia-smi -q -d CLOCK,POWER,MEMORY 2>/dev/null || clinfo -l 2>/dev/null || echo "no tool of the driver"'
for test in product ops; do                    # the kernels' results, each against plain ones
    [ -x "build/tests/test_$test" ] &&
        part "results: $test" 90 env JETCL_DEVICE="$device" "build/tests/test_$test"
done
part "peaks and kernels" 120 "$jetcl" bench \
    ${KERNELS:-peak attention matmul experts depthwise layernorm adamw} \
    --device "$device" --seconds 0.2
for step in ${STEPS:-vit_t moe_t vit_s32 moe_s32}; do
    for batch in ${BATCHES:-32 128 256}; do
        part "step.$step at batch $batch" 30 "$jetcl" bench "step.$step" --batch "$batch" --device "$device" \
            --seconds 1
    done
done
for model in vit-t v-jetmoe-t c-jetmoe-f; do
    part "launches of $model" 20 sh \
        -c "'$jetcl' config experiments/models/$model.yaml --launches --device '$device' \
        --set train.batch=32 | tail -n 1"
done
part "profile of a step" 30 env JETCL_TRACE=time "$jetcl" bench step.vit_t --batch 32 --device "$device" \
    --seconds 0.01
python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null && [ -f tests/peers/step.py ] &&
    part "PyTorch" 60 python3 tests/peers/step.py
echo "report: $report"
