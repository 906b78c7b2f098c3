#!/bin/sh
# test_precision.sh: --precision and train.precision as a user meets them: trained, evaluated, predicted and
# probed in each type, what logs say of it, and what is refused.
. "$(dirname "$0")/run_help.sh"
export JETCL_DEVICE=cpu JETCL_CHECK=off
three_classes .

for type in fp32 bf16 fp16; do
    try "train in $type" 0 'top-1 100.00 %' train small.yaml --out "$type" --set train.precision=$type
    last=$type/ckpt/last.safetensors
    for other in fp32 bf16 fp16; do
        try "trained in $type, evaluated in $other" 0 'top-1 100.00 %' eval $last --set data.root=photos \
            --precision $other
    done
    [ "$(head -c 4096 $last | tr -d '\0' | grep -c '"dtype":"\(F16\|BF16\)"')" = 0 ]
    ok $? "$type: the checkpoint is fp32"
done

# fp16 alone scales its loss: from 2^16 down, and says so at every step.
scales() { sed -n 's/.*"scale": *\([0-9.e+]*\).*/\1/p' "$1/metrics.jsonl" | sort -gu; }
for type in fp32 bf16; do
    [ -z "$(scales $type)" ]; ok $? "$type: no loss scale" "$(scales $type)"
done
scales fp16 | awk '{ n++; if ($1 > 65536 || log($1) / log(2) % 1) bad = 1 } END { exit !n || bad }'
ok $? 'fp16: scales are powers of two, at most 2^16' "$(scales fp16)"

# The types are not the same numbers, and near each other: 2^-8 a value of bf16, 2^-11 of fp16; some layers
# deep. input.safetensors: one black image of 3 x 16 x 16 floats.
head='{"images":{"dtype":"F32","shape":[1,3,16,16],"data_offsets":[0,3072]}}  '
{ printf '\110\0\0\0\0\0\0\0%s' "$head"; head -c 3072 /dev/zero; } >input.safetensors
likely() {
    "$jetcl" predict fp32/ckpt/last.safetensors photos/test --precision "$1" --json | sed 's/.*"p"://; s/}.*//'
}
likely fp32 >fp32.p
for pair in "bf16 0.03" "fp16 0.004"; do
    type=${pair% *} most=${pair#* }
    likely $type >$type.p && likely $type | cmp -s $type.p -; ok $? "$type: twice the same"
    far=$(paste fp32.p $type.p | awk '
        { d = $1 > $2 ? $1 - $2 : $2 - $1; if (d > far) far = d }
        END { print far + 0 }')
    [ "$(wc -l <fp32.p)" = 12 ] && awk -v far="$far" -v most="$most" 'BEGIN { exit !(far > 0 && far < most) }'
    ok $? "$type: probabilities are near fp32's, and others" "$far"
done
for type in fp32 bf16 fp16; do
    try "probe in $type" 0 '' probe --weights fp32/ckpt/last.safetensors --input input.safetensors \
        --out $type.safetensors fp32/config.yaml --precision $type
done
cmp -s fp32.safetensors bf16.safetensors || cmp -s fp32.safetensors fp16.safetensors \
    || cmp -s bf16.safetensors fp16.safetensors; [ $? = 1 ]; ok $? 'probe: three different results'

try 'a type there is not' 2 'fp32' eval fp32/ckpt/last.safetensors --set data.root=photos --precision half
try 'nor tf32' 2 'bf16' train small.yaml --out none --set train.precision=tf32
[ ! -e none ]; ok $? 'nothing was made'

for type in bf16 fp16; do
    try "convert --dtype $type" 0 '' convert fp32/ckpt/last.safetensors small-$type.safetensors --dtype $type
    try "weights of $type" 0 'top-1 100.00 %' eval small-$type.safetensors --set data.root=photos
done
