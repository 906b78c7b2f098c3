#!/bin/sh
# test_compare.sh: `jetcl compare`: devices and settings number by number, records between machines, planted
# faults.
. "$(dirname "$0")/run_help.sh"
"$jetcl" devices --json | grep -q '"kind": "cpu"' || { echo "skip compare no CPU device"; exit 0; }

# No data set: images are made up. The classes are then ten.
cat > exp.yaml <<EOF
name: small
model: {arch: vit, image: 16, patch: 8, dim: 32, depth: 2, heads: 2, drop_path: off}
train: {epochs: 10, batch: 16}
schedule: {warmup_epochs: 1, by: step}
EOF

try "one device needs another" 2 "two devices" compare exp.yaml --device cpu
try "its own twin has equal bits" 0 "equal bits in all" compare exp.yaml --device cpu,cpu --steps 11 --out twin
try "and other kernels differ by rounding" 0 "no difference beyond rounding" \
    compare exp.yaml --device cpu,cpu@plain --steps 11 --out plain
for f in a.jetcmp b.jetcmp comparison.json; do [ -s "plain/$f" ]; ok $? "kept: $f"; done
try "other weights are said at once" 5 "differs from the start" compare exp.yaml --device cpu --set-b seed=5 \
    --steps 2
try "a smaller tolerance" 5 "the tolerance is" compare exp.yaml --device cpu,cpu@plain --steps 2 \
    --tolerance 1e-12
try "another optimiser: the weights after the first step" 5 "differs from step 1 on" \
    compare exp.yaml --device cpu --set-b optim.eps=1e-2 --steps 2

# Every number once more from the two records, by a script that knows none of this.
try "several seeds are said in words" 5 "by pairs of 2 seeds (95 %)" \
    compare exp.yaml --device cpu --set-b optim.lr=1 --steps 8 --seeds 2 --out seeds
if command -v python3 >/dev/null; then
    for d in plain seeds; do
        out=$(python3 "$here/tests/page_numbers.py" comparison $d)
        ok $? "numbers of $d are those of its records" "$out"
    done
else
    echo "skip numbers of comparisons: no python3"
fi

# Between machines.
try "a record" 0 "" compare exp.yaml --device cpu --steps 11 --record here.jetcmp
try "and another" 0 "" compare exp.yaml --device cpu@plain --steps 11 --record there.jetcmp
try "are compared anywhere" 0 "no difference beyond rounding" compare here.jetcmp there.jetcmp
try "as JSON" 0 '"agree": true' compare here.jetcmp there.jetcmp --json
head -c 3000 here.jetcmp > cut.jetcmp
try "half a record" 3 "cut.jetcmp" compare here.jetcmp cut.jetcmp
cp exp.yaml no.jetcmp
try "no record at all" 3 "no.jetcmp" compare here.jetcmp no.jetcmp

cp -r "$here/cl" bad
# One gradient is 1 % too large: that of the attention's values, on a CPU.
sed -i 's/one\[r\] = 1;/one[r] = 1.01f;/' bad/cpu/attention.cl
grep -q '1.01f' bad/cpu/attention.cl; ok $? "a fault is planted"
out=$(JETCL_CL=bad "$jetcl" compare exp.yaml --device cpu,cpu@plain --steps 2 2>&1); code=$?
[ $code = 5 ] && has "$out" "differs from step 1 on, first in blocks.1.attn.qkv: gradient"
ok $? "and named by its layer" "exit $code: $out"
has "$out" "cpu is off: " && has "$out" "attention.cl attention_grad" && has "$out" "cpu@plain agrees"
ok $? "and by device and kernel" "$out"

# The same kernel is found by the self-test, and before a training.
try "a sound device passes" 0 "passed" devices --check --device cpu
"$jetcl" devices --check --ahead --device cpu 2>&1 | grep -q . && ok 1 "ahead is silent" ||
    ok 0 "ahead is silent"
out=$(JETCL_CL=bad "$jetcl" devices --check --device cpu --json 2>&1); code=$?
[ $code = 5 ] && has "$out" "attention.cl attention_grad"
ok $? "the self-test names the kernel" "exit $code: $(echo "$out" | tail -1)"
sed 's/^train:.*/train: {epochs: 1, batch: 16, steps: 1}/' exp.yaml >train.yaml
echo "data: {set: demo, root: $dir/data, train: a/train, eval: a/test, workers: 1}" >>train.yaml
out=$(JETCL_CHECK= JETCL_CL=bad "$jetcl" train train.yaml --out bad_run 2>&1); code=$?
[ $code = 0 ] && has "$out" "attention.cl attention_grad" &&
    has "$out" "plain kernels are used in place of those of attention"
ok $? "and a training takes the plain ones in its place" "exit $code: $out"
grep -q '"plain_kernels": " attention "' bad_run/env.json; ok $? "which env.json has"
# A fault in what takes their place as well: nothing starts.
cp -r "$here/cl" worse
sed -i 's/const float dot = sum_16(s);/const float dot = 1.01f * sum_16(s);/' worse/softmax.cl
sed -i 's/one\[r\] = 1;/one[r] = 1.01f;/' worse/cpu/attention.cl
out=$(JETCL_CHECK= JETCL_CL=worse "$jetcl" train train.yaml --out worse_run 2>&1); code=$?
[ $code = 4 ] && has "$out" "fails its self-test"
ok $? "where the plain ones fail too it does not start" "exit $code: $out"
[ ! -e worse_run/metrics.jsonl ]; ok $? "with nothing written"
out=$(JETCL_CHECK= JETCL_CACHE_DIR=$dir/cache "$jetcl" train train.yaml --out run -v 2>&1)
has "$out" "checked in" && [ -n "$(ls cache/checks)" ] && ! ls cache/checks/*.yaml 2>/dev/null
ok $? "a sound one is noted" "$out"
out=$("$jetcl" devices --check --ahead=exp.yaml --set model.classes=10 --device cpu 2>&1) && [ -z "$out" ]
ok $? "ahead for an experiment's network is silent, too" "$out"
# Of equal blocks in a row two are looked at, and what only the last of another kind launches is among them.
sed 's/depth: 2/depth: 9, moe: {layers: [6, 7, 8], core: 4, universal: 4}/' train.yaml >deep.yaml
cp -r "$here/cl" route
sed -i 's|r_comb = 1.0f / \*t_comb|r_comb = 1.01f / *t_comb|' route/cpu/route.cl
out=$(JETCL_CHECK= JETCL_CL=route "$jetcl" train deep.yaml --out deep -v 2>&1)
has "$out" "route.cl" && has "$out" "checked in"; ok $? "a fault in a block that comes late" "$out"
out=$(JETCL_CHECK= JETCL_CACHE_DIR=$dir/cache "$jetcl" train train.yaml --out run2 -v 2>&1)
has "$out" "checking the kernels" && ok 1 "and not checked again" "$out" || ok 0 "and not checked again"

# Values in half types come as what they are.
try "another precision" 0 "no difference beyond rounding" compare exp.yaml --device cpu \
    --set-b train.precision=bf16 --steps 2
