#!/bin/sh
# test_kinds.sh: files of another kind than the command takes, unknown names, predecessors that do not fit: one
# line that says what to do, before anything is made; and the odd ways to give what is right.
. "$(dirname "$0")/run_help.sh"
three_classes .
cat > moe.yaml <<'END'
base: small.yaml
name: moe
model: {moe: {layers: [1], core: 2, universal: 2}}
recycle: {from: {experts: run/ckpt/last.safetensors}, images: 8, batch: 4, compare: off}
END
cat > sweep.yaml <<'END'
columns: [top-1]
set: {train.steps: 1}
rows:
  - {name: a, cells: [small.yaml], set: {optim.lr: 1e-3}}
  - {name: b, cells: [small.yaml], set: {optim.lr: 2e-3}}
END
try "train" 0 "top-1 100.00 %" train small.yaml --out run
ckpt=run/ckpt/last.safetensors

# Another kind of file: the command that takes it.
for command in run train count recycle; do
    try "$command with a checkpoint" 2 "is a checkpoint, not an experiment: jetcl eval, predict" $command $ckpt
    try "$command with a run" 2 "jetcl run run/config.yaml repeats the run, jetcl eval run" $command run
    try "$command with a table" 2 "is a table, not an experiment: jetcl table sweep.yaml" $command sweep.yaml
done
try "a table that is an experiment" 2 "is an experiment, not a table: jetcl run small.yaml" table small.yaml
try "a table that is a run" 2 "is a run's folder, not a table: jetcl eval run" table run
try "a table that is a checkpoint" 2 "is a checkpoint, not a table: jetcl eval $ckpt" table $ckpt
try "an image" 2 "000.bmp: not a text file" run photos/test/ape/000.bmp
try "eval of a state" 3 "the state of a run, for --resume; its weights are in the .safetensors beside it" \
    eval run/ckpt/last.state
try "predict with a state" 3 "the state of a run" predict run/ckpt/last.state photos/test
try "convert of a state" 3 "the state of a run" convert run/ckpt/last.state x.pth
try "training from a state" 3 "the state of a run" train small.yaml --out none \
    --set model.init=run/ckpt/last.state
try "eval of metrics" 3 "JSON text" eval run/metrics.jsonl
try "averaged weights that there are not" 3 "no averaged (EMA) weights" convert $ckpt x.pth --ema
try "a file as --out" 2 "--out small.yaml: a file, not a folder" run small.yaml --out small.yaml
try "nothing as --out" 2 "--out must not be empty" run small.yaml --out ''
try "--force over images" 2 "photos holds no run" run small.yaml --out photos --force
try "a folder as --confusion" 1 "photos: cannot write: Is a directory" eval run --confusion photos
try "no folder for --per-class" 1 "cannot write: No such file" eval run --per-class nowhere/x.csv
has "$out" "device "; [ $? = 1 ]; ok $? "nor was a device opened" "$out"

# Predecessors that do not fit: before the run's folder is made.
try "one that is too narrow" 3 "at least as wide" run moe.yaml --out none --set model.dim=64
try "heads that do not divide" 2 "recycle.from.heads" run moe.yaml --out none --set recycle.from.heads=5
try "statistics that are none" 3 "recycle.statistics: small.yaml: not a checkpoint" run moe.yaml --out none \
    --set recycle.statistics=small.yaml
try "weights that do not fit" 3 "does not fit the model" train small.yaml --out none --set model.init=$ckpt \
    --set model.dim=64
[ ! -e none ] && [ ! -e x.pth ]; ok $? "nothing was made" "$(ls)"

# Unknown names, and what a checkpoint says wrongly of itself.
try "a class that neither side has" 3 "aep (did you mean 'ape'?)" eval run --set 'data.classes=[aep, bee]'
try "a blank too many" 3 "did you mean 'ape'?" eval run --set 'data.classes=["ape ", bee]'
cp -r photos lack; rm -r lack/test/ape
try "a class that the images lack" 0 "on 8 images" eval run --data lack --set 'data.classes=[ape, bee, cat]'
has "$out" "classes without a file: ape"; ok $? "is said" "$out"
refused() { # refused NAME TEXT META: a copy with this metadata, evaluated
    "$jetcl" convert $ckpt told.safetensors -q --meta "$3"
    try "$1" 3 "$2" eval told.safetensors --data photos
}
refused "other names" "has 3: dog, cow, pig" 'classes=["dog","cow","pig"]'
refused "too few names" "names 2 classes, its head has 3" 'classes=["ape","bee"]'
refused "one name twice" "two of its classes are called 'bee'" 'classes=["ape","bee","bee"]'
refused "a number as name" "gives class 2 no name" 'classes=["ape","bee",3]'
refused "an empty name" "gives class 0 no name" 'classes=["","bee","cat"]'
refused "no list" "names 0 classes" 'classes={"ape":0}'
refused "a broken experiment" "missing comma" 'recipe=model: {arch: vit'
try "a key that is wrong is the caller's" 2 "did you mean 'depth'?" eval run --set model.dept=2

# Odd ways that are right.
try "sets in any order" 0 "top-1 100.00 %" eval small.yaml $ckpt --set model.depth=3 --set model.depth=2
mkdir -p linked/test; for c in ape bee cat; do ln -s "$dir/photos/test/$c" linked/test/$c; done
try "folders that are links" 0 "on 12 images" eval run --data linked
try "a path with dots" 0 "on 12 images" eval run --data ./linked/../photos/test/.
mkdir -p up/test/ape; cp photos/test/ape/* up/test/ape; ln -s .. up/test/ape/up
try "a link that leads up" 0 "on 4 images" eval run --data up
mkdir -p idle/test/ape idle/test/zebra; cp photos/test/ape/* idle/test/ape
try "an unknown class without images" 0 "on 4 images" eval run --data idle
for name in copy.pth copy.npz copy; do
    cp $ckpt $name
    try "a checkpoint called $name" 0 "on 12 images" eval $name --data photos
done
mkdir -p other; cp -r run other/moved; mv photos gone
try "a run that was moved, its images too" 0 "on 12 images" eval other/moved --data gone
try "images that are gone" 3 "(data.root)" eval other/moved
mv gone photos
mkdir several; cp photos/test/ape/000.bmp several
echo text > several/a.txt; : > several/b.png; printf BM > several/c.bmp
try "predict on files of all kinds" 3 '"several/000.bmp",1,0,"ape"' predict run several
has "$out" "2 of 3 images could not be read" && has "$out" "1 .txt"; ok $? "others are counted" "$out"
out=$("$jetcl" predict run photos/test/cat/000.bmp --top 3 2>/dev/null | tail -n +2)
[ "$(echo "$out" | cut -d, -f3 | sort | tr '\n' ' ')" = "0 1 2 " ] && echo "$out" | head -n 1 |
    grep -q ',1,2,"cat",' &&
    [ "$(echo "$out" | cut -d, -f5)" = "$(echo "$out" | cut -d, -f5 | sort -rn)" ]
ok $? "--top has all classes in order" "$out"
for file in 'bom:s/^name/\xef\xbb\xbfname/' 'crlf:s/$/\r/'; do
    sed "${file#*:}" small.yaml > "${file%%:*}.yaml"
    try "an experiment with ${file%%:*}" 0 "vit" config "${file%%:*}.yaml"
done
try "one run" 0 "top-1" run small.yaml --set train.steps=1
before=$(readlink runs/small/latest)
try "then a sweep" 0 "| b " table sweep.yaml
[ "$(readlink runs/small/latest)" = "$before" ]; ok $? "does not move latest"
