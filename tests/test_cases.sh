#!/bin/sh
# test_cases.sh: cases from people's reports that no other script has; tests/README.md has the list.
. "$(dirname "$0")/run_help.sh"
three_classes mine

# A2: the model's classes are in another order than folders sort in.
try "train with classes in another order" 0 "top-1 100.00 %" \
    train mine/small.yaml --set 'data.classes=[cat, ape, bee]' --out turned
try "folders that sort otherwise" 0 "top-1 100.00 %" eval turned --data mine/photos
try "the class is the model's" 0 '"class":0,"name":"cat"' predict turned mine/photos/test/cat/000.bmp --json

# Classes by name, however a system writes the letters of a folder's name.
if grep -q HAVE_UTF8PROC "$here/config.mak"; then
    composed=$(printf 'caf\303\251') apart=$(printf 'cafe\314\201')
    cp -r mine/photos letters; mv letters/train/ape "letters/train/$composed"
    mv letters/test/ape "letters/test/$apart"
    try "letters in two forms" 0 "top-1 100.00 %" train mine/small.yaml --set data.root="$dir/letters" \
        --out letters-run
    try "and chosen by either" 0 "top-1 100.00 %" eval letters-run --data letters \
        --set "data.classes=[cat, $composed]"
    cp -r "letters/test/$apart" "letters/test/$composed"
    try "a folder in both forms" 3 "two of its classes are called '$composed'" eval letters-run --data letters
else
    echo "skip letters in two forms: built without utf8proc"
fi

# A4: the device is part of a cell.
cat > mine/table.yaml <<'END'
columns: [top-1]
rows: [{name: A, cells: [small.yaml], set: {device: cpu}},
       {name: B, cells: [small.yaml], set: {device: "null"}}]
END
try "rows that differ in the device" 0 "to do" table mine/table.yaml --status
[ "$(echo "$out" | grep -o 'runs/small/seed-[^ ]*' | sort -u | wc -l)" = 2 ]; ok $? "are two cells" "$out"

# A5: mean and std stand alone. A red pixel of 255, less mean, over std: ImageNet's are 123.675 and 58.395.
red() { # red ARGUMENTS...: the largest value of the network's input
    "$jetcl" data show mine/small.yaml --images 1 --split train --tensor in.safetensors \
        -q --set 'data.classes=[ape]' \
        --set 'augment.smoothing=off' "$@" >/dev/null 2>said
    "$jetcl" inspect in.safetensors --json -q | tr -d '\n ' |
        sed 's/.*"name":"images"[^}]*"max":\([^,}]*\).*/\1/'
}
near() { awk "BEGIN { d = $1 - ($2); exit !(d * d < 1e-6) }" 2>/dev/null; }
usual=$(red); near "$usual" 131.325/58.395; ok $? "neither: the set's own" "$usual $(cat said)"
mean=$(red --set 'data.mean=[200,200,200]'); near "$mean" 55/58.395; ok $? "data.mean alone" "$mean"
std=$(red --set 'data.std=[10,10,10]'); near "$std" 13.1325; ok $? "data.std alone" "$std"

# A7: values that are not numbers, where nothing is measured, and in a batch that is given.
cat > moe.yaml <<END
base: mine/small.yaml
model: {moe: {layers: [1], core: 2, universal: 2}}
recycle: {from: {experts: nan.safetensors}, images: 8, batch: 4, compare: off}
END
cp turned/ckpt/last.safetensors nan.safetensors
printf '\0\0\300\177' | dd of=nan.safetensors bs=1 seek=$(($(wc -c < nan.safetensors) - 4)) conv=notrunc \
    2>/dev/null
for strategy in random uniform copy importance; do
    try "recycling by $strategy from NaN" 5 "holds a value that is not a number" \
        recycle moe.yaml --out new.safetensors --set recycle.strategy=$strategy
done
"$jetcl" data show mine/small.yaml --images 1 --split train --tensor in.safetensors -q >/dev/null 2>&1
size=$(wc -c < in.safetensors)
try "a probe" 0 "logits" probe --weights turned/ckpt/last.safetensors --input in.safetensors \
    --out y.safetensors \
    mine/small.yaml --set model.classes=3
for bytes in '\0\0\300\177' '\0\0\200\177'; do
    printf "$bytes" | dd of=in.safetensors bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
    rm -f y.safetensors
    try "a probe of what is not a number" 5 "holds a value that is not a number" probe --weights \
        turned/ckpt/last.safetensors --input in.safetensors --out y.safetensors mine/small.yaml \
        --set model.classes=3
    [ ! -e y.safetensors ]; ok $? "and nothing is written"
done

# B4: more images than there were.
try "a run stopped early" 0 "" run mine/small.yaml --out some --set train.steps=3
rm some/result.json; cp -r mine more; bmp more/photos/train/ape/more.bmp 377 0 0
untouched some "more images are refused" 3 "--set data.changed=accept" run mine/small.yaml --out some --resume \
    --set data.root="$dir/more/photos"
try "unless that is said" 0 "top-1" run mine/small.yaml --out some --resume --set data.root="$dir/more/photos" \
    --set data.changed=accept

# B13: drivers' compilers are told to be silent, whatever they would say.
JETCL_DUMP=dump "$jetcl" config mine/small.yaml --launches --device null >/dev/null 2>&1
all=$(find dump -type f | wc -l); quiet=$(grep -rlE -- '(^|[ "])-w( |$|")' dump | wc -l)
[ "$all" -gt 5 ] && [ "$quiet" -gt 5 ]; ok $? "-w is among the options" "$quiet of $all files"

# B15: inputs lie beside the file, outputs below the folder that the command is started in; said in help.
mkdir elsewhere && cd elsewhere
try "from another folder" 0 "top-1" run ../mine/small.yaml --set train.steps=1
[ -d runs/small ] && [ ! -e ../mine/runs ]; ok $? "outputs are below the working folder" "$(ls . ../mine)"
try "the rule is in help" 0 "the folder the command is started in" help run
