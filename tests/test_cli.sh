#!/bin/sh
# test_cli.sh: the program as a user runs it: what it prints, where, and the exit code.
jetcl=${TEST_BUILD:-build}/jetcl
case $jetcl in /*) ;; *) jetcl=$PWD/$jetcl ;; esac
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
export XDG_CONFIG_HOME="$dir/config" NO_COLOR=1
unset JETCL_DEVICE JETCL_DATA JETCL_LOG FORCE_COLOR

# try CODE 'stdout has' 'stderr has' arguments...: patterns are fixed strings, "" for nothing, - for anything.
try() {
    want=$1 out=$2 err=$3; shift 3
    "$jetcl" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    rc=$?
    has() { case $1 in -) ;; '') [ ! -s "$2" ] ;; *) grep -qF -- "$1" "$2" ;; esac; }
    if [ $rc = "$want" ] && has "$out" "$dir/out" && has "$err" "$dir/err"; then
        echo "ok jetcl $*"
    else
        echo "not ok jetcl $*"
        echo "  exit $rc, want $want; stdout: $(head -c 400 "$dir/out")"
        echo "  stderr: $(head -c 400 "$dir/err")"
    fi
}
same() {
    if [ "$2" = "$3" ]; then
        echo "ok $1"
    else
        echo "not ok $1"; echo "  got:  $2"; echo "  want: $3"
    fi
}

# help and version
try 0 'jetcl COMMAND' ''
try 0 'jetcl COMMAND' '' --help
try 0 'jetcl config [EXP.yaml]' '' help config
try 0 'jetcl config [EXP.yaml]' '' config --help
try 0 'peak learning rate' '' help optim.lr
try 0 'CLBlast' '' --version
try 2 '' "unknown command 'confg' (did you mean 'config'?)" confg
try 2 '' "no command or key 'metrc' (did you mean 'metric'?)" help metrc
try 2 '' "before a command" -v config
try 0 'jetcl help recycle.` explains the section' '' help recycle
try 0 'recycle.strategy ' '' help recycle.
try 0 "--set 'signal.save_on=[INT, TERM, HUP, USR1, USR2]'" '' help signal.save_on
try 0 '--out FILE' '' help recycle
try 0 '--out DIR' '' help train
commands=$("$jetcl" help | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p')
for c in '' $commands; do "$jetcl" help $c | grep -v '^  jetcl'; done >"$dir/help"
same 'help fits into 80 columns' "$(awk 'length > 80' "$dir/help")" ''

# options
try 2 '' 'unknown option --lst (did you mean --list?)' config --lst
try 2 '' 'unknown option -z' config -z
try 2 '' 'option --seed needs a value' config --seed
try 2 '' 'option --check takes no value' config --check=1
try 2 '' '--color must be auto, always or never' config --color blue
try 2 '' '--seed x: seed:' config --seed x
try 2 '' 'too many arguments' config a b
try 0 'device: "a,b"' '' config -d a --device=b
try 0 'seed: 5' '' config --seed 5
try 0 '| `optim.lr` |' '' config --markdown
try 0 '"lr": 0.004' '' config --json
try 0 '"accumulate": "auto"' '' config --json
try 0 '"key": "model.moe.core"' '' config --list --json

try 0 '"seconds":null' '' table experiments/tables/demo.yaml --dry-run --json -q --device null

# of two values none is passed over, but of --set, where the last one counts
try 2 '' '--seed 7 and --set seed=5: give one of them' config --seed 7 --set seed=5
try 0 'seed: 7' '' config --seed 7 --set seed=7
try 2 '' "--seed is given twice, as '5' and as '6'" config --seed 5 --seed 6
try 0 'seed: 5' '' config --seed 5 --seed 5
try 0 'seed: 9' '' config --set seed=8 -s seed=9
try 2 '' '--threads 3 and --set threads=2' config --threads 3 --set threads=2
try 2 '' '--device cpu and --set device=gpu' config -dcpu --set device=gpu
try 2 '' "--data is given twice, as 'a' and as 'b'" eval x --data a --data b
try 2 '' '--split must not be empty' eval x --split ''
try 2 '' '--device must not be empty' eval x --device ''
try 0 'device: "a,b,c"' '' config -d a -d b --device c
try 0 'jetcl config [EXP.yaml]' '' config -h --set nonsense
try 2 '' 'missing argument; usage: jetcl eval RUN|CHECKPOINT|EXP.yaml CHECKPOINT' eval
try 2 '' 'option -s needs a value' config -s
try 2 '' 'option --log-file needs a value' config --log-file
try 2 '' "'-q' before a command" -q
try 0 'jetcl 0.' '' -V
"$jetcl" config --log-file "$dir/log" --set sed=1 >/dev/null 2>&1
"$jetcl" config --log-file "$dir/log" --set sed=2 >/dev/null 2>&1
same 'the log file gets every message' "$(grep -c "unknown key 'sed'" "$dir/log")" 2

# experiment files: the message, the line and the caret
printf 'name: x\nschedule:\n  warmup_epoch: 3\n' >"$dir/bad.yaml"
try 2 '' "bad.yaml:3:3: unknown key 'warmup_epoch' in schedule (did you mean 'warmup_epochs'?)" \
    config "$dir/bad.yaml"
same 'caret below the key' "$(tail -n 2 "$dir/err")" "      warmup_epoch: 3
      ^"
try 2 '' 'No such file' config "$dir/none.yaml"
try 2 '' "there is no section 'modle'" config --set modle.dim=3
try 0 '' '' config --check --set 'model.moe.layers=[8, 9]' --set model.moe.core=5
"$jetcl" config --set variant=paper --set optim.lr=1e-3 >"$dir/once.yaml"
"$jetcl" config "$dir/once.yaml" | sed 's/^name: once$/name: ""/' >"$dir/twice.yaml"
same 'config prints a file that reads back equal' "$(cmp "$dir/once.yaml" "$dir/twice.yaml" 2>&1)" ''
for f in $(find experiments -name '*.yaml' -not -path '*/tables/*' 2>/dev/null | sort); do
    try 0 '' '' config --check "$f"
done

printf 'train:\n  epochs: 3\n   batch: 4\n' >"$dir/bad.yaml"
try 2 '' 'bad.yaml:2:' config "$dir/bad.yaml"
try 2 '' 'is the next line indented too far?' config "$dir/bad.yaml"
printf 'data:\n  set:folder\n' >"$dir/bad.yaml"
try 2 '' 'a space after the colon' config "$dir/bad.yaml"
printf 'data: {set: folder\ntrain: {epochs: 3}\n' >"$dir/bad.yaml"
try 2 '' 'is a closing bracket missing before?' config "$dir/bad.yaml"
printf 'train:\n  epochs:\n' >"$dir/bad.yaml"
try 2 '' 'bad.yaml:2:3: train.epochs' config "$dir/bad.yaml"
try 2 '' "recycling strategy 'importence' (did you mean 'importance'?)" \
    config --check --set recycle.strategy=importence
try 2 '' "no data set 'cifr10' (did you mean 'cifar10'?)" config --check --set data.set=cifr10

if [ -f README.md ]; then
    for f in $(grep -o 'experiments/[a-z0-9_/.-]*\.yaml' README.md | sort -u); do
        [ -f "$f" ] || echo "not ok README.md names $f, which is not there"
    done
    same 'README.md fits into 100 columns' "$(grep -v '^|' README.md | awk 'length > 100')" ''
fi

# devices; what the list holds depends on the machine
if "$jetcl" devices >/dev/null 2>&1; then
    try 0 '0:0' '' devices
    try 0 '"max_alloc": ' '' devices --json
    try 0 ', chosen' '' devices --device 0:0
    # PoCL finds no device without a folder for what it builds
    for from in HOME=/proc XDG_CACHE_HOME=/proc/x POCL_CACHE_DIR=/proc/x; do
        list=$(env -u POCL_CACHE_DIR -u XDG_CACHE_HOME "$from" "$jetcl" devices 2>"$dir/err") && [ -n "$list" ]
        same "devices with $from" "$?:$(grep -c 'cannot write /proc' "$dir/err")" 0:1
    done
    try 0 '"chosen": false' '' devices --device null --json
    try 4 '0:0' "no device 'abacus'; devices: 0:0" devices --device abacus
    try 4 '' 'several devices' config --launches --device 0:0,0:0
else
    try 4 '' 'no OpenCL device' devices
fi
if "$jetcl" devices >/dev/null 2>&1; then
    export JETCL_CACHE_DIR="$dir/cache"
    cat >"$dir/tune.yaml" <<'END'
model: {arch: vit, image: 16, patch: 4, dim: 32, depth: 1, heads: 2, classes: 3}
train: {batch: 4}
END
    try 0 'attention  4x2x17x16 ' 'used from now on' tune "$dir/tune.yaml" --minutes 60    # over in two seconds
    try 0 '","shape":"' 'out of time after 1 of 2' tune "$dir/tune.yaml" --minutes 0.000001 --json
    for f in "$dir"/cache/tuning/*.txt; do sed -i 's/^sum: ./sum: x/' "$f"; done
    try 0 - 'damaged; using built-in values' bench --list peak
    unset JETCL_CACHE_DIR
fi
try 2 '' 'a number of minutes' tune experiments/demo.yaml --minutes x
try 2 '' - tune
(export OCL_ICD_VENDORS=/nonexistent; try 4 '' 'pocl-opencl-icd' devices)
try 2 '' 'too many arguments' devices x

printf 'model: {arch: vit, image: 16, patch: 8, dim: 8, depth: 2, heads: 2}\n' >"$dir/moe0.yaml"

"$jetcl" count experiments/models/c-jetmoe-f.yaml 2>/dev/null >"$dir/out"
same 'the table of layers fits into 80 columns' "$(awk 'length > 80' "$dir/out")" ''
# Where there are pseudo-terminals: a bare chroot has none.
if "$jetcl" devices >/dev/null 2>&1 && script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
    TERM=xterm script -qec "'$jetcl' bench layernorm.fwd --seconds 0.01 --cache-dir '$dir/unbuilt'" /dev/null \
        >"$dir/out" </dev/null
    same 'what is being built stands in the progress line' \
        "$(grep -c 'building kernels: cl/bench.cl' "$dir/out")" 1
    same 'a progress line is gone before a result is printed' "$(grep -c 'fwdlayernorm' "$dir/out")" 0
fi

# tables: resolved and listed, collected without running anything
for f in experiments/tables/*.yaml; do try 0 'to do' '' table --dry-run "$f" --out "$dir/nothing" \
    --device null; done
try 0 'missing for 6: weights/vit_tiny_patch16_224.augreg_in21k.npz: https://storage.googleapis.com/' '' table \
    --dry-run experiments/tables/table2.yaml --out "$dir/nothing" --device null
try 0 'jetcl data fetch flowers' '' table --dry-run experiments/tables/table2.yaml --out "$dir/nothing" \
    --device null
try 0 '| V-JetMoE-T 5:12   | 352.0 (352)' '' table --collect experiments/tables/table4.yaml --out "$dir/runs"
try 0 '"V-JetMoE-S","FLOPs, G",flops,4.2876' '' \
    table --collect --csv experiments/tables/table4.yaml --out "$dir/runs"
try 0 '"mean": 5.717416' '' table --collect --json experiments/tables/table4.yaml --out "$dir/runs"
printf 'columns: [a]\nrows: [{name: x, cells: [none.yaml]}]\n' >"$dir/table.yaml"
try 2 '' "table.yaml:2:26: " table "$dir/table.yaml"
try 2 '' 'No such file' table "$dir/none.yaml"

try 2 '' '--only nonsense: no cell has this in its name' table experiments/tables/demo.yaml --only nonsense
if "$jetcl" devices >/dev/null 2>&1; then         # the table is printed, and why it is not complete is said
    printf 'data: {set: demo, root: %s, train: a/train, eval: a/test}\nmodel: {init: gone.npz}\n' "$dir" \
        >"$dir/cell.yaml"
    printf 'columns: [a]\nrows: [{name: x, cells: [cell.yaml]}]\n' >"$dir/table.yaml"
    try 3 '| x   | -' '1 of 1 experiments failed; the first: ' table "$dir/table.yaml" --out "$dir/runs"
fi
try 0 ' M ' '(--set model.classes=N)' count "$dir/moe0.yaml"

# A network small enough to count by hand: 1544 + 8 + 40 for patches, token and positions, 872 a block, 16, 27.
cat >"$dir/tiny.yaml" <<'END'
model: {arch: vit, image: 16, patch: 8, dim: 8, depth: 1, heads: 2, classes: 3, drop_path: off}
train: {batch: 4}
END
"$jetcl" count "$dir/tiny.yaml" --json >"$dir/out" 2>/dev/null
same 'parameters, multiply-adds without and with attention' "$(sed -n '5,7p' "$dir/out" | tr -d ' \n')" \
    '"params":2507,"flops":10008,"flops_complete":10408,'
# Bytes: patches 4 x 4 x 192 floats kept, images as many again, 4 x 4 x 8 made of them; the head reads 4 x 8,
# writes 4 x 3.
same 'memory of evaluating and training' "$(sed -n '8,15p' "$dir/out" | tr -d ' \n')" \
    '"memory":{"weights":86016,"training_state":344064,"eval_activations":25088,"train_activations":44032,'\
'"eval_batch":4,"train_batch":4},'
same 'memory of each layer' "$(grep -o '_bytes": [0-9]*' "$dir/out" | sed 's/.* //' | tr '\n' ' ')" \
    '12800 12288 0 0 0 0 3840 9856 128 128 256 128 '
for f in graph dot; do "$jetcl" config "$dir/tiny.yaml" --$f >"$dir/$f" 2>/dev/null; done
same 'a box for every node' "$(grep -c 'label=' "$dir/dot")" "$(grep -c '^ *[0-9]' "$dir/graph")"
same 'every arrow joins two boxes' "$(grep -o 'n[0-9]* -> n[0-9]*' "$dir/dot" | sed 's/ -> /\n/' | sort -u | \
    while read n; do grep -q "^  $n \[" "$dir/dot" || echo $n; done)" ''
try 0 '      model.moe.core: 197' '' help model.moe.kind
try 0 '      model.depths: [3, 3, 27, 3]' '' help model.arch

(unset JETCL_DEVICE; export JETCL_DATA="$dir/from-here"; try 0 "root: $dir/from-here" '' config)
(export JETCL_DEVICE=0:0 JETCL_DATA=; try 0 'device: "0:0"' '' config)

# streams
got=$("$jetcl" config --list 2>&1 >/dev/null | head -n 0
      "$jetcl" config --list 2>"$dir/err" | head -n 1 >/dev/null; cat "$dir/err")
same 'a closed pipe is not an error' "$got" ''
"$jetcl" config >/dev/full 2>"$dir/err"
same 'a full disk is one' "$? $(grep -c 'cannot write the results' "$dir/err")" '1 1'

# recycle: what is wrong is said before anything is done
cat >"$dir/moe.yaml" <<'END'
model:
  {dim: 8, heads: 2, depth: 2, image: 16, patch: 8, classes: 3, moe: {layers: [1], core: 2, universal: 2}}
END
try 2 '' 'recycle EXP.yaml' recycle
try 2 '' 'recycling needs recycle.from.experts' recycle "$dir/moe.yaml" --out "$dir/r.safetensors"
try 3 '' 'none.safetensors' recycle "$dir/moe.yaml" --set recycle.from.experts="$dir/none.safetensors" \
    --out "$dir/r.safetensors"
try 2 '' "did you mean 'random'" recycle "$dir/moe.yaml" --set recycle.strategy=randon \
    --set recycle.from.experts=x --out "$dir/r.safetensors"
: >"$dir/there.safetensors"
try 2 '' 'already exists' recycle "$dir/moe.yaml" --out "$dir/there.safetensors"
try 2 '' 'suffix' recycle "$dir/moe.yaml" --out "$dir/r.txt"
same 'nothing is left of refused recyclings' "$(ls "$dir" | grep -c '^r\.')" 0
