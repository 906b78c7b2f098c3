#!/bin/sh
# test_odd.sh: input that contradicts the manual: numbers and blanks that mean something else in YAML, options
# given twice, outputs named like inputs, tensors of other types, names that nearly agree, links that lead up.
. "$(dirname "$0")/run_help.sh"
three_classes .
try "a run" 0 "top-1 100.00 %" train small.yaml --out run
try "a run with averaged weights" 0 "top-1" train small.yaml --set train.ema=0.9 --out averaged
ckpt=run/ckpt/last.safetensors

# ---- the experiment file
odd() { # odd NAME TEXT LINES: small.yaml with these lines
    name=$1 text=$2
    { cat small.yaml; printf "$3"; } > odd.yaml
    try "$name" 2 "$text" config odd.yaml
}
odd "mean in fractions" "data.mean: " 'data.mean: [0.485, 0.456, 0.406]\n'
odd "std in fractions" "multiply fractions by 255" 'data.std: 0.5\n'
odd "fractions of a predecessor" "recycle.from.std" 'recycle.from.std: [0.229, 0.224, 0.225]\n'
odd "a number too small for a double" "'1e-400' is not a number" 'optim.eps: 1e-400\n'
odd "a no-break space" "it holds U+00A0, which looks like a blank" 'log:\302\240{every: 1}\n'
odd "a space of no width" "it holds U+200B" 'log: {every\342\200\213: 1}\n'
odd "hexadecimal" "'0x10' is not an integer" 'log.every: 0x10\n'
odd "thousands" "'1_000' is not an integer" 'log.every: 1_000\n'
odd "a comma" "'1,5' is not a number" 'optim.eps: "1,5"\n'
odd "yes" "'yes' is not true, false, on or off" 'eval.crop: 1\nmodel.strict: yes\n'
odd "a second document" "more than one document" '...\nlog.every: 1\n'
odd "a merge key" "unknown key '<<'" 'log: {<<: {every: 1}}\n'
printf '\377\376n\0a\0m\0e\0:\0x\0\n\0' > utf16.yaml
try "UTF-16" 2 "utf16.yaml: UTF-16 text; save it as UTF-8" config utf16.yaml
{ cat small.yaml; echo 'data.mean: [0, 0, 0]'; echo 'data.std: [1, 1, 1]'; } > raw.yaml
try "pixels as they are" 0 "mean: [0, 0, 0]" config raw.yaml

# ---- tables
bad_table() { # bad_table NAME TEXT LINES
    name=$1 text=$2
    { echo 'columns: [top-1]'; printf "$3"; } > bad.yaml
    try "$name" 2 "$text" table bad.yaml --status
}
row='rows: [{name: A, cells: [small.yaml]}]\n'
bad_table "no rows" "a table needs rows" ''
bad_table "an empty list of rows" "a table needs rows" 'rows: []\n'
bad_table "two rows of one name" "two rows are named 'A'" \
    'rows: [{name: A, cells: [small.yaml]}, {name: A, cells: [raw.yaml]}]\n'
bad_table "no seeds" "seeds must name one at least" "seeds: []\\n$row"
bad_table "a seed beside seeds" "seed is set here, and the table has seeds" \
    "set: {seed: 3}\\nseeds: [1, 2]\\n$row"
bad_table "a row's seed beside seeds" "seed is set here" \
    'seeds: [1]\nrows: [{name: A, cells: [small.yaml], set: {seed: 3}}]\n'
bad_table "transposed by yes" "transpose must be on or off" "transpose: yes\\n$row"
{ echo 'columns: [top-1]'; echo 'transpose: on'; printf "$row"; } > good.yaml
try "transposed" 0 "to do" table good.yaml --status

# ---- averaged weights
try "averaged weights of a run that has no others" 0 "top-1" eval averaged --set model.init_ema=on
try "convert takes them" 0 "" convert averaged/ckpt/last.safetensors averaged.pth --ema -q
try "training from them" 0 "top-1" train small.yaml --out from --set train.steps=1 \
    --set model.init=averaged/ckpt/last.safetensors --set model.init_ema=on
try "what came from averaged weights and was trained without" 0 "top-1" eval from
try "is evaluated by its experiment too" 0 "top-1" eval from/config.yaml from
for form in "eval run" "eval small.yaml $ckpt" "predict run photos/test/ape" \
    "eval small.yaml --set model.init=$ckpt"; do
    try "averaged weights that there are not: $form" 3 "no averaged (EMA) weights" $form --set model.init_ema=on
done
"$jetcl" convert $ckpt pt.safetensors --meta format=pt -q
try "nor in a file of another program" 3 "no averaged (EMA) weights" eval pt.safetensors --set model.init_ema=on

# ---- outputs that are somebody's input
cp -r run kept; cp small.yaml page.yaml
spared() { # spared NAME TEXT arguments...: refused, with the run as it was
    untouched run "$1" 2 "$2" $3
    cmp -s small.yaml page.yaml
    ok $? "$1: nor the experiment" "$(git diff --no-index small.yaml page.yaml | head)"
}
spared "logits over the checkpoint" "--save-logits $ckpt would replace what is read" \
    "eval run --save-logits $ckpt"
spared "images over the checkpoint" "--save-images $ckpt would replace" \
    "analyse run --save-images $ckpt --out none"
spared "a probe over its weights" "--out $ckpt would replace" \
    "probe --weights $ckpt --input pt.safetensors --out $ckpt small.yaml"
spared "classes over a config" "config.yaml is there already and does not end in .csv" \
    "eval run --per-class run/config.yaml"
spared "a matrix over metrics" "does not end in .csv" "eval run --confusion run/metrics.jsonl"
spared "a network over the state" "does not end in .onnx" "export run --onnx run/ckpt/last.state"
spared "a page over a config" "does not end in .html" "report run --out run/config.yaml"
spared "a record over the checkpoint" "does not end in .jetcmp" "compare small.yaml --device cpu --record $ckpt"
spared "a sheet over the experiment" "does not end in .png" "data show small.yaml --png small.yaml"
spared "a log over the experiment" "does not end in .log or .txt" "config small.yaml --log-file small.yaml"
spared "a log over the checkpoint" "does not end in .log or .txt" "config small.yaml --log-file $ckpt"
mkfifo pipe
try "a pipe is not renamed away" 1 "pipe: cannot write: not a regular file" eval run --per-class pipe
[ -p pipe ]; ok $? "and stays"
echo old > classes.csv
try "a file of its kind is replaced" 0 "top-1" eval run --per-class classes.csv
has "$(head -n 1 classes.csv)" "class,name,images"; ok $? "as asked"

# ---- checkpoints. Types of elements and metadata are read off the header: bytes of the same length.
patched() { # patched FILE FROM TO: in the header of a copy; TO is as long as FROM
    LC_ALL=C sed "1s/$2/$3/" $ckpt > "$1"
    [ "$(wc -c < "$1")" = "$(wc -c < $ckpt)" ] || echo "not ok $1 has another length"
}
patched i32.safetensors '"head.bias":{"dtype":"F32"' '"head.bias":{"dtype":"I32"'
try "weights that are integers" 3 "head.bias holds integers (I32): quantised weights are not read" eval \
    i32.safetensors
try "nor does training start from them" 3 "holds integers" train small.yaml --out none \
    --set model.init=i32.safetensors
"$jetcl" convert $ckpt later.safetensors --meta 'format=jetcl 99' -q
try "a later format" 3 "format 'jetcl 99', of a later version" eval later.safetensors
"$jetcl" convert $ckpt frac.safetensors --meta 'std=0.229 0.224 0.225' -q
try "metadata of fractions" 3 "three such numbers" eval frac.safetensors

# ---- folders
cp -r photos blank; mv blank/test/ape "blank/test/ape "
try "a blank in a folder's name" 3 "'ape ' (did you mean 'ape'?)" eval run --data blank
cp -r photos caps; mv caps/test/ape caps/test/Ape
try "another case" 3 "Ape (did you mean 'ape'?)" eval run --data caps
mkdir -p links/test; cp -r photos/test/ape photos/test/bee links/test
ln -s . links/test/self; ln -s ../test links/test/again; ln -s .. links/test/bee/up
ln -s ../../.. links/test/bee/top
try "links that lead up" 0 "on 8 images" eval run --data links
has "$out" "top-1 100.00 %"; ok $? "bring no other class" "$out"
has "$out" "again: a link back into a folder above it, not followed"; ok $? "and are said" "$out"
[ "$("$jetcl" predict run links -q 2>/dev/null | wc -l)" = 9 ]; ok $? "predict follows none of them either"
odd_place=$(printf 'a "quo'"'"'te\nline')
mkdir "$odd_place"; cp -r photos small.yaml "$odd_place"; cd "$odd_place" || exit 1
try "quotes and lines in the path" 0 "top-1" train small.yaml --out 'o ut' --set train.steps=1
cd .. && try "are written and read" 0 "top-1" run "$odd_place/o ut/config.yaml" --out "$odd_place/again"

# ---- what was meant
try "an operand too many" 2 "too many arguments" data list cifar10
try "an option of another action" 2 "data verify has no --png (show: write" data verify small.yaml --png x.png
try "an option of two actions" 2 "data fetch has no --split" data fetch demo --split train
try "an option of its own" 0 "" data show small.yaml --images 1 --epoch 2 --split eval -q
try "an accuracy that cannot be" 2 "--at must be accuracies in %" analyse run averaged --at 50,101
for place in photos/test/maps photos/test photos/train/ape links/../photos/test/ape/deep/maps; do
    try "an analysis in $place" 2 "among the images of $PWD/photos/t" analyse run --out $place
done
try "an analysis among the images given" 2 "among the images of photos/test/ape" \
    analyse run --images photos/test/ape --out photos/test/ape/maps
try "a sheet among them" 2 "--png photos/test/ape/sheet.png: would put pictures" \
    data show small.yaml --images 1 --png photos/test/ape/sheet.png
[ -z "$(find photos -name 'maps' -o -name 'deep' -o -name '*.png')" ]; ok $? "leave nothing there"
out=$(JETCL_TRCAE=nan JETCL_CACHE_DR=x JETCL_VERY_OWN=1 "$jetcl" config 2>&1 >config.txt); code=$?
[ $code = 0 ] && has "$out" "JETCL_TRCAE is unknown (did you mean 'JETCL_TRACE'?)" &&
    has "$out" "JETCL_CACHE_DR is unknown (did you mean 'JETCL_CACHE_DIR'?)" &&
    [ "$(echo "$out" | grep -c 'JETCL_VERY_OWN is unknown$')" = 1 ] && [ "$(echo "$out" | wc -l)" = 3 ]
ok $? "variables of no meaning are named once" "$code: $out"
out=$(JETCL_TRCAE=nan "$jetcl" config -q 2>&1 >config.txt); [ -z "$out" ]; ok $? "not when quiet" "$out"
listed=$("$jetcl" help --environment | grep -o '^  JETCL_[A-Z_]*' | sort)
read=$(grep -rhoE '(getenv\(|\{ )"JETCL_[A-Z_]+' "$here"/core "$here"/data | grep -o 'JETCL_.*' | sort -u)
[ "$(echo $listed)" = "$(echo $read)" ]; ok $? "help lists every variable that is read" "$listed / $read"
out=$(JETCL_LOG=warn "$jetcl" config 2>&1); code=$?
[ $code = 2 ] && has "$out" "JETCL_LOG=warn: must be quiet, normal, verbose or debug"
ok $? "a level of messages that there is not" "$code: $out"
for name in small.YAML noext; do
    cp small.yaml $name
    try "an experiment called $name" 0 "top-1 100.00 %" eval $name run
done
try "an experiment without its suffix" 0 "top-1 100.00 %" eval small run
for command in "inspect run" "inspect run/" "convert run of-run.pth"; do
    try "$command" 0 "32 tensors" $command
done
try "is that run's last checkpoint" 0 " 0 differ" inspect --diff $ckpt of-run.pth
try "a run as what another starts from" 0 "top-1" train small.yaml --out start --set train.steps=1 \
    --set model.init=run
sum=$("$jetcl" inspect $ckpt -q | sed -n 's/^sha256 //p')
[ "$sum" ] && [ "$(sed -n 's/.*"sha256": *"\([0-9a-f]*\)".*/\1/p' start/env.json)" = "$sum" ]
ok $? "by the content of its checkpoint" "$(grep sha256 start/env.json)"
mkdir -p high/train high/test; cp -r photos/train high/train/all; cp -r photos/test high/test/all
try "a folder too high" 3 "all images are of one class, all: nothing is to be learnt" \
    train small.yaml --out none --set data.root=high
try "the images that are learnt" 0 "data.eval is data.train" train small.yaml --out same --set train.steps=1 \
    --set data.eval=train
[ ! -e none ]; ok $? "nothing was made"
