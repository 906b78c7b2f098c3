#!/bin/sh
# test_dry.sh: what run and table --dry-run say, with and without data and weights: what is missing, steps,
# memory, time.
. "$(dirname "$0")/run_help.sh"
number() { echo "$out" | grep -o "\"$1\":[^,}]*" | head -n 1 | sed 's/.*://'; }
positive() { awk "BEGIN { exit !($1 > 0) }"; }
json() { # json NAME CODE arguments...: as try, stdout alone, into $out
    name=$1 want=$2; shift 2
    out=$("$jetcl" "$@" --json -q 2>said </dev/null); code=$?
    [ $code = "$want" ] && [ "$(wc -l <said)" = $((code > 0)) ]; ok $? "$name" "exit $code: $(cat said)"
}
sum() {
    echo "$out" | grep -o "\"$1\":[^,}]*,\"$2\"" | sed "s/\"$1\"://; s/,.*//" |
        awk '{ s += $1 } END { print s }'
}
same() { awk "BEGIN { d = $1 - ($2); exit !($1 > 0 && d * d < 1e-6 * $1 * $1) }"; }
cat > exp.yaml <<END
name: dry
data: {set: cifar10, root: nowhere}
model: {arch: vit, image: 32, patch: 16, dim: 16, depth: 1, heads: 2, drop_path: off}
train: {epochs: 3, batch: 100}
schedule: {warmup_epochs: 1}
END
cat > moe.yaml <<END
base: exp.yaml
name: moe
model: {depth: 2, moe: {layers: [1], core: 2, universal: 2}}
recycle: {from: {experts: weights/vit_tiny_patch16_224.augreg_in21k.npz}}
END
cat > table.yaml <<END
columns: [top-1]
seeds: [1, 2]
rows: [{name: dense, cells: [exp.yaml]}, {name: mixture, cells: [moe.yaml]}]
END
try "a checkpoint that is not there" 0 "missing: weights/vit_tiny_patch16_224.augreg_in21k.npz: https://" run \
    moe.yaml --dry-run
try "a set that is not there" 0 "no cifar10 there" run exp.yaml --dry-run
has "$out" "jetcl data fetch cifar10"; ok $? "and how to get it" "$out"
has "$out" "1500 steps in about " && has "$out" ", 1 evaluation in "
ok $? "steps go by what was published" "$out"
json "as JSON" 0 run moe.yaml --dry-run
[ "$(number steps)" = 1500.0 ] && positive "$(number step_s)" && positive "$(number memory)" &&
    positive "$(number seconds)"; ok $? "steps, memory and time" "$out"
positive "$(number eval_s)" && positive "$(number recycle_s)" &&
    same "$(number seconds)" "$(number train_s) + $(number eval_s) + $(number recycle_s)"
ok $? "the time is that of training, evaluating and recycling" "$out"
has "$out" "https://storage.googleapis.com/" && has "$out" "data fetch cifar10"
ok $? "and what is missing" "$out"
try "a checkpoint of one's own that is missing" 0 "left by a run of the experiment named small" run exp.yaml \
    --dry-run \
    --set model.init=runs/small/latest/ckpt/last.safetensors
json "a network that nothing tells" 0 run moe.yaml --dry-run --set recycle.from.experts=mine.safetensors
has "$out" '"recycle_s":null' && same "$(number seconds)" "$(number train_s) + $(number eval_s)"
ok $? "is not counted" "$out"
# A predecessor as small as what is made of it; its graphs are cut in a time that nobody measures.
try "a predecessor" 0 "top-1" train exp.yaml --out before --set train.steps=1 --set model.depth=2 \
    --set data.set=demo --set data.root="$dir/drawn" --set data.train=a/train --set data.eval=a/test
own="--set recycle.from.experts=before/ckpt/last.safetensors"
try "graphs that are to be cut" 0 ", partitioning their graph not included: at least " \
    run moe.yaml --dry-run $own --set recycle.strategy=graph
try "and none" 0 " in all; loss" run moe.yaml --dry-run $own --set data.root="$dir/drawn" --set data.set=demo \
    --set data.train=a/train --set data.eval=a/test
has "$out" "partitioning"; [ $? = 1 ] && ! has "$out" "at least"; ok $? "are not spoken of" "$out"
json "a strategy that measures nothing" 0 run moe.yaml --dry-run --set recycle.strategy=uniform
[ "$(number recycle_s)" = 0.0 ]; ok $? "takes no time" "$out"
for every in off:1 1:3 2:2 3:1 4:1; do
    try "evaluations with eval.every=$every" 0 ", ${every#*:} evaluation" run exp.yaml \
        --dry-run --set eval.every=${every%:*}
done
try "no data set" 2 "data.set is not given" run exp.yaml --dry-run --set data.set=
has "$out" "number of steps not known"; ok $? "but a forecast" "$out"
demo="--set data.set=demo --set data.root=data --set data.train=a/train --set data.eval=a/test"
json "data that the program draws" 0 run exp.yaml --dry-run $demo
has "$out" '"missing":[]' && [ "$(number steps)" = 54.0 ]; ok $? "misses nothing" "$out"
[ ! -e data ]; ok $? "and draws nothing yet"
"$jetcl" data verify exp.yaml $demo >/dev/null 2>&1
json "data that is there" 0 run exp.yaml --dry-run $demo
has "$out" '"missing":[]' && [ "$(number steps)" = 54.0 ]; ok $? "has as many images" "$out"
try "a split that is not there is an error" 2 "has no split 'half'" run exp.yaml --dry-run --set data.train=half
try "a set of folders that is not there" 0 "number of steps not known" \
    run exp.yaml --dry-run --set data.set=folder --set data.train=train

try "a table" 0 "4 experiments to do take about " table table.yaml --dry-run --out t
has "$out" "mixture / top-1, seed 2: 1500 steps of 100 images, " && has "$out" "missing for 2: " &&
    has "$out" "missing for 4: "
ok $? "each cell, and for how many something is missing" "$out"
json "a table as JSON" 0 table table.yaml --dry-run --out t
total=$(echo "$out" | sed 's/.*"seconds"://; s/}.*//')
[ "$(echo "$out" | grep -o '"name"' | wc -l)" = 4 ] && same "$total" "$(sum seconds memory)"
ok $? "whose time is the sum of its cells'" "$total: $out"
same "$total" "$(sum train_s eval_s) + $(sum eval_s recycle_s) + $(sum recycle_s seconds)" &&
    positive "$(sum eval_s recycle_s)" && positive "$(sum recycle_s seconds)"; ok $? "and of their parts" "$out"
json "all within a budget" 0 table table.yaml --dry-run --out t --budget 90000d12h
[ "$(echo "$out" | grep -o '"fits":true' | wc -l)" = 4 ]; ok $? "each says so" "$out"
try "nothing within one" 0 "0 of 4 experiments fit into 0:01: they take about 0:00" table table.yaml \
    --dry-run --out t --budget 1s
try "a budget that is not a time" 2 "48h, 1d12h or 90m" table table.yaml --dry-run --budget 48
try "a budget for a table that would run" 2 "add --dry-run" table table.yaml --budget 48h
json "one of its rows" 0 table table.yaml --dry-run --only dense --out t
[ "$(echo "$out" | grep -o '"name"' | wc -l)" = 2 ] && ! has "$out" mixture && ! has "$out" googleapis
ok $? "and what only others need is not missed" "$out"
json "without a device to measure on" 0 table table.yaml --dry-run --device null --out t
has "$out" '"seconds":null' && positive "$(number memory)"; ok $? "memory and steps are known" "$out"
cat > prepared.yaml <<END
columns: [top-1]
set: {data.set: demo, data.root: data, data.train: a/train, data.eval: a/test}
prepare: [{name: before, file: exp.yaml}]
rows: [{name: mixture, cells: [moe.yaml], use: {recycle.from.experts: before}, set: {model.image: 32}}]
END
json "a table that makes what it recycles" 0 table prepared.yaml --dry-run --out t
positive "$(sum recycle_s seconds)" && has "$out" '"missing":[]'
ok $? "misses nothing, and knows the time" "$out"
[ ! -e t ] && [ ! -e runs ]; ok $? "nothing is written"
