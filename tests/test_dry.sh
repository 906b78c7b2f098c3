#!/bin/sh
# test_dry.sh: what run and table --dry-run say, with and without data and weights: what is missing, steps, memory, time.
. "$(dirname "$0")/run_help.sh"
number() { echo "$out" | grep -o "\"$1\":[^,}]*" | head -n 1 | sed 's/.*://'; }
positive() { awk "BEGIN { exit !($1 > 0) }"; }
json() { # json NAME arguments...: as try, stdout alone, into $out
    name=$1; shift
    out=$("$jetcl" "$@" --json -q 2>said </dev/null); code=$?
    [ $code = 0 ] && [ ! -s said ]; ok $? "$name" "exit $code: $(cat said)"
}
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
try "a set that is not there" 0 "no cifar10 there" run exp.yaml --dry-run
has "$out" "jetcl data fetch cifar10"; ok $? "and how to get it" "$out"
has "$out" "1500 steps in about "; ok $? "steps go by what was published" "$out"
json "as JSON" run moe.yaml --dry-run
[ "$(number steps)" = 1500.0 ] && positive "$(number step_s)" && positive "$(number memory)" &&
    positive "$(number seconds)"; ok $? "steps, memory and time" "$out"
has "$out" "https://storage.googleapis.com/" && has "$out" "data fetch cifar10"; ok $? "and what is missing" "$out"
json "data that is there" run exp.yaml --dry-run --set data.set=demo --set data.root=data --set data.train=a/train --set data.eval=a/test
has "$out" '"missing":[]'; ok $? "misses nothing" "$out"
try "a split that is not there is an error" 2 "has no split 'half'" run exp.yaml --dry-run --set data.train=half
try "a set of folders that is not there" 0 "number of steps not known" \
    run exp.yaml --dry-run --set data.set=folder --set data.train=train

try "a table" 0 "4 experiments to do: training takes about " table table.yaml --dry-run --out t
has "$out" "mixture / top-1, seed 2: 1500 steps of 100 images, " && has "$out" "missing for 2: " && has "$out" "missing for 4: "
ok $? "each cell, and for how many something is missing" "$out"
json "a table as JSON" table table.yaml --dry-run --out t
total=$(echo "$out" | sed 's/.*"seconds"://; s/}.*//')
sum=$(echo "$out" | grep -o '"seconds":[^,}]*,"memory"' | sed 's/"seconds"://; s/,.*//' | awk '{ s += $1 } END { print s }')
[ "$(echo "$out" | grep -o '"name"' | wc -l)" = 4 ] && awk "BEGIN { d = $total - $sum; exit !($total > 0 && d * d < 1e-6 * $total * $total) }"
ok $? "whose time is the sum of its cells'" "$total, $sum: $out"
json "one of its rows" table table.yaml --dry-run --only dense --out t
[ "$(echo "$out" | grep -o '"name"' | wc -l)" = 2 ] && ! has "$out" mixture && ! has "$out" googleapis
ok $? "and what only others need is not missed" "$out"
json "without a device to measure on" table table.yaml --dry-run --device null --out t
has "$out" '"seconds":null' && positive "$(number memory)"; ok $? "memory and steps are known" "$out"
[ ! -e t ] && [ ! -e runs ]; ok $? "nothing is written"
