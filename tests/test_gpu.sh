#!/bin/sh
# test_gpu.sh: training steps as GPUs of all kinds would run them (JETCL_FAKE), planned on the null device: the
# limits hold, and what JETCL_DUMP writes is what a compiler needs. tests/gpu/ has what those compilers say.
build=${TEST_BUILD:-build}
out=$build/tests/gpu
rm -rf "$out"
mkdir -p "$out"
# launches FAKE MODEL: the step's launch list.
launches() {
    JETCL_FAKE=$1 "$build/jetcl" config "experiments/models/$2.yaml" --launches --device null \
        --set train.batch=32
}
for fake in apple:256 mali:64 adreno:128 arc:512 rdna:256 cdna:256 nvidia:1024 nvidia,group=64:64; do
    name=${fake%:*} most=${fake#*:}
    if launches "$name" vit-t >"$out/$name.txt" 2>"$out/$name.err" &&
        launches "$name" v-jetmoe-t >>"$out/$name.txt" &&
       launches "$name" c-jetmoe-f >>"$out/$name.txt" &&
       JETCL_DUMP=$out/$name launches "$name" vit-t >/dev/null &&
       awk -F '\t' -v most="$most" '{ split($4, l, " "); if (l[1] * l[2] * l[3] > most) exit 1; n++ }
                                    END { exit n < 100 }' "$out/$name/launches.tsv"; then
        echo "ok steps planned as for $name keep to groups of $most"
    else
        echo "not ok steps planned as for $name"
        head -n 3 "$out/$name.err"
    fi
done
if JETCL_CL_OPTIONS=-g JETCL_DUMP=$out/options launches rdna vit-t >/dev/null &&
    ! head -qn 2 "$out"/options/*.cl | grep -- '-cl-std' | grep -qv -- ' -g$'
then echo "ok JETCL_CL_OPTIONS reaches every program"
else echo "not ok JETCL_CL_OPTIONS reaches every program"; fi
program=$out/rdna/$(cut -f 1 "$out/rdna/launches.tsv" | grep '^matmul' | head -n 1)
head -n 2 "$program" | grep -q -e '-DCLASS_GPU=1 -DSIMD=32 -DLOCAL_BYTES=65536' &&
    grep -q 'kernel void matmul' "$program" \
    && echo "ok a dump holds the text and its options" || echo "not ok a dump holds the text and its options"
for wrong in appel local=8 group=32 align=96 lanes=0 units=x; do
    launches "$wrong" vit-t >"$out/wrong.txt" 2>&1
    [ $? -eq 2 ] && grep -q JETCL_FAKE "$out/wrong.txt" && echo "ok JETCL_FAKE=$wrong is refused" \
        || echo "not ok JETCL_FAKE=$wrong is refused"
done
launches nvidia,local=16,group=64,lanes=32,fp64=0,alloc=4096,align=4096,units=8,joins=0,matrix=0,l1=32,l2=256 \
    vit-t >"$out/right.txt" 2>&1 && echo "ok limits of every kind" || echo "not ok limits of every kind"
JETCL_DUMP=$out/avx2 launches avx2 vit-t >/dev/null && ! head -qn 2 "$out"/avx2/*.cl | grep -- '-DSIMD' |
    grep -qv -e ' -DSIMD=8 -DLOCAL_BYTES=524288' && echo "ok a CPU's local memory is its second cache" \
    || echo "not ok a CPU's local memory is its second cache"
launches appel vit-t 2>&1 | grep -q "did you mean 'apple'" && echo "ok a near name is offered" \
    || echo "not ok a near name is offered"
# engines FAKE MATRIX: how many products of a step in fp32 are on a matrix engine.
engines() {
    JETCL_FAKE=$1 "$build/jetcl" config experiments/models/vit-t.yaml --launches --device null \
        --set train.batch=32 --set "device.matrix=$2" | grep -c "matmul .*-DENGINE=.*$3"
}
for case in nvidia:auto:0 nvidia:tf32:100:TF32 cdna:auto:100:F32 cdna:off:0 arc:tf32:0; do
    fake=${case%%:*} rest=${case#*:}
    setting=${rest%%:*} rest=${rest#*:}
    element=${rest#*:}
    [ "$element" = "$rest" ] && element=
    n=$(engines "$fake" "$setting" "${element:+-DELEMENT=$element}" 2>"$out/engines.txt")
    if [ "$n" -ge "${rest%%:*}" ] && { [ "${rest%%:*}" != 0 ] || [ "$n" = 0 ]; }
    then echo "ok $n products of fp32 on the engine of $fake, device.matrix $setting"
    else echo "not ok $n products of fp32 on the engine of $fake, device.matrix $setting"; fi
done
grep -q 'has no TF32; products of fp32 stay fp32' "$out/engines.txt" \
    && echo "ok TF32 that is not there is said" || echo "not ok TF32 that is not there is said"
# most NAME FAKE MODEL: launches of a step; each costs about 5 us of the host. Fewer where groups may join their
# sums.
most() {
    n=$(launches "$2" "$3" | sed -n 's/^\([0-9]*\) launches, .* of the host.*/\1/p')
    [ "${n:-0}" -gt 100 ] && [ "$n" -le "$1" ] && echo "ok $n launches a step of $3 as $2" \
        || echo "not ok $n launches a step of $3 as $2, at most $1"
}
most 300 nvidia vit-t
most 300 rdna vit-t
most 400 arc vit-t
most 400 apple vit-t
most 500 nvidia v-jetmoe-t
most 500 rdna v-jetmoe-t
most 600 apple v-jetmoe-t
most 800 nvidia c-jetmoe-f
