#!/bin/sh
# test_eval.sh: eval, predict and probe are right or refuse: classes by name, nothing drawn at random, no NaN.
. "$(dirname "$0")/pictures.sh"
jetcl=${TEST_BUILD:-build}/jetcl
case $jetcl in /*) ;; *) jetcl=$PWD/$jetcl ;; esac
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
export XDG_CONFIG_HOME="$dir/config" NO_COLOR=1 JETCL_DEVICE=cpu
unset JETCL_DATA JETCL_LOG FORCE_COLOR
cd "$dir" || exit 1

# try NAME CODE 'stdout has' 'stderr has' arguments...: patterns are fixed strings, "" for nothing, - for
# anything.
try() {
    name=$1 want=$2 out=$3 err=$4; shift 4
    "$jetcl" "$@" >out 2>err </dev/null
    rc=$?
    has() { case $1 in -) ;; '') [ ! -s "$2" ] ;; *) grep -qF -- "$1" "$2" ;; esac; }
    if [ $rc = "$want" ] && has "$out" out && has "$err" err; then
        echo "ok $name"
    else
        echo "not ok $name"
        echo "  jetcl $*: exit $rc, want $want; stdout: $(head -c 400 out)"
        echo "  stderr: $(tail -c 600 err)"
    fi
}
same() {
    if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1"; echo "  got:  $2"; echo "  want: $3"; fi
}
number() { grep -o "\"$1\":[^,}]*" "$2" | head -n 1 | sed 's/.*://'; }

# colours FOLDER APE BEE CAT: three classes by these names: reddish, greenish, bluish.
colours() {
    for i in 000 020 040 060; do
        bmp "$1/$2/$i.bmp" 377 $i $i
        bmp "$1/$3/$i.bmp" $i 377 $i
        bmp "$1/$4/$i.bmp" $i $i 377
    done
}
colours photos/train ape bee cat
colours photos/test ape bee cat
cat >small.yaml <<'END'
data: {set: folder, root: photos, train: train, eval: test}
model: {arch: vit, image: 16, patch: 8, dim: 32, depth: 2, heads: 2, drop_path: off}
train: {epochs: 12, batch: 6}
optim: {lr: 3e-3, layer_decay: off}
schedule: {warmup_epochs: off}
augment: {randaugment: off, mixup: off, cutmix: off, erasing: off, scale_min: 1}
eval: {every: off}
END
try 'train' 0 'top-1 100.00 %' - train small.yaml --out run
last=run/ckpt/last.safetensors

# A1, A12: a subset, another order, other names
colours few/test ape bee cat; rm -r few/test/bee
for seed in 1 2 3; do
    try "two of three classes, seed $seed" 0 'top-1 100.00 %' - eval small.yaml $last --set data.root=few \
        --seed $seed
done
try 'classes given in another order' 0 'top-1 100.00 %' - eval small.yaml $last \
    --set 'data.classes=[cat, ape, bee]'
try 'a subset by data.classes' 0 'on 8 images' - eval small.yaml $last --set 'data.classes=[cat, ape]'
colours named/test zebra bee cat
try 'a renamed class' 3 '' 'zebra' eval small.yaml $last --set data.root=named
same 'both sides are listed' "$(grep -c 'zebra.*ape, bee, cat' err)" 1
colours swapped/test cat ape bee                 # names say otherwise than colours: nothing is right
try 'names that lie' 0 'top-1 0.00 %' - eval $last --data swapped
colours more/test ape bee cat; bmp more/test/dog/a.bmp 0 0 0
try 'a class too many' 3 '' '1 of its 4 classes is not among those of' eval $last --data more
mkdir -p mixed; cp -r photos/train mixed/; cp -r more/test mixed/
try 'a class that only the test split has' 3 '' 'is not among those of train: dog' \
    train small.yaml --set data.root=mixed --out none
same 'nothing was written' "$(ls -d none 2>/dev/null)" ''

# B1: the checkpoint knows its model, from any folder
mkdir -p else/where
for form in "eval ../../run" "eval ../../$last" "eval ../../run/config.yaml ../../$last" \
    "eval ../../$last --data ../../photos" \
            "eval ../../$last --data ../../photos/test/" "eval ../../run/config.yaml ../../run"; do
    (cd else/where && "$jetcl" $form >../../out 2>../../err); rc=$?
    same "jetcl $form" "$rc $(grep -o 'top-1 100.00 %' out)" '0 top-1 100.00 %'
done
try 'predict RUN FOLDER' 0 '"photos/test/cat/000.bmp",1,2,"cat",' - predict run photos/test
same 'a row for every image' "$(wc -l <out)" 13
try 'predict CHECKPOINT IMAGE' 0 '"name":"bee"' - predict $last photos/test/bee/000.bmp --json
try 'predict EXP CHECKPOINT FOLDER' 0 '"ape",' - predict small.yaml $last photos/test/ape
try 'no images' 2 '' 'predict RUN|CHECKPOINT' predict run
try 'images without --data' 2 '' 'images come after --data' eval $last photos

# A3: nothing drawn at random is used
try 'another pooling' 3 '' 'norm.weight' eval $last --set model.pool=token
same 'the switch that helps' "$(grep -c -- '--set model.pool=avg' err)" 1
try 'another depth' 3 '' 'of the model'"'"'s 44 parameters would be drawn at random' eval small.yaml $last \
    --set model.depth=3
try 'fewer blocks' 3 '' 'that the model has no place for: blocks.1' eval small.yaml $last --set model.depth=1
try 'another number of classes' 3 '' 'model.classes is 5, but the head of' eval small.yaml $last \
    --set model.classes=5
try 'predict with another width' 3 '' 'would be drawn at random' predict small.yaml $last photos/test \
    --set model.dim=64
try 'strict off does not help' 3 '' 'would be drawn at random' eval small.yaml $last --set model.dim=64 \
    --set model.strict=off

# A3, B11: a file as others write it: no metadata, its head reads the class token
try 'train with the class token' 0 'top-1 100.00 %' - train small.yaml --set model.pool=token --out token
"$jetcl" convert token/ckpt/last.safetensors plain.pth -q --meta recipe= --meta classes= --meta heads= \
    --meta mean= \
    --meta std= --meta arch=
try 'heads that nothing tells' 3 '' '--set model.heads=N' eval plain.pth --data photos
try 'a plain file' 0 'top-1 100.00 %' 'does not name its 3 classes' eval plain.pth --data photos \
    --set model.heads=2
try 'its pooling is followed' 0 'top-1 100.00 %' - eval small.yaml plain.pth
try 'another pooling is refused' 3 '' '--set model.pool=token' eval small.yaml plain.pth --set model.pool=avg
try 'images that are not squares' 2 '' 'model.image is 16 x 32' predict small.yaml plain.pth photos/test \
    --set 'model.image=[16, 32]'
for text in '0 0 0' 'nan 1 1' '60 60' '-60 60 60'; do
    "$jetcl" convert $last std.safetensors -q --meta "std=$text"
    try "metadata of std $text" 3 '' 'three such numbers' predict std.safetensors photos/test
done
try "the token's norm is not the mean's" 3 '' '--set model.pool=token' \
    eval small.yaml plain.pth --set model.pool=avg --set variant=paper
try 'a plain file and too few classes' 3 '' 'name them in the order of its head' \
    eval plain.pth --data few --set model.heads=2
try 'a plain file with names given' 0 'top-1 100.00 %' - \
    eval plain.pth --data few --set model.heads=2 --set 'data.classes=[ape, bee, cat]'
try 'predict with a plain file' 0 ',2,"2",' - predict plain.pth photos/test/cat --set model.heads=2

# B9: a folder as hubs have it, and shards joined by their index
mkdir -p hub shards
"$jetcl" convert $last hub/model.safetensors -q
try 'a folder with model.safetensors' 0 'top-1 100.00 %' - eval hub --data photos
cp hub/model.safetensors shards/model-00001-of-00001.safetensors
names=$("$jetcl" inspect hub --json -q | sed -n 's/.*"name": "\([^"]*\)".*/\1/p')
index() {
    printf '{"weight_map": {'
    sep=
    for n in $names; do printf '%s"%s": "%s"' "$sep" "$n" "$1"; sep=', '; done
    printf '}}'
}
index model-00001-of-00001.safetensors >shards/model.safetensors.index.json
try 'shards by their index' 0 'top-1 100.00 %' - eval small.yaml shards
try 'the index itself' 0 'top-1 100.00 %' - eval small.yaml shards/model.safetensors.index.json
index gone.safetensors >shards/model.safetensors.index.json
try 'a missing shard' 3 '' 'gone.safetensors: No such file' eval small.yaml shards
index ../hub/model.safetensors >shards/model.safetensors.index.json
try 'a shard elsewhere' 3 '' 'does not lie beside the index' eval small.yaml shards
index 'two\nlines.safetensors' >shards/model.safetensors.index.json
try 'a shard of two lines' 3 '' 'does not lie beside the index' eval small.yaml shards
echo '{}' >shards/model.safetensors.index.json
try 'an index of nothing' 3 '' 'no weight_map' eval small.yaml shards
try 'a folder of something else' 3 '' 'a folder with no model.safetensors' eval photos

# A7: values that are not numbers. 7f c0 00 00 is one, in place of the last four bytes of the file.
cp $last nan.safetensors
size=$(wc -c <nan.safetensors)
for bytes in '\0\0\300\177' '\0\0\200\177' '\0\0\200\377'; do
    printf "$bytes" | dd of=nan.safetensors bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
    try "eval of $bytes" 5 '' 'holds a value that is not a number' eval nan.safetensors
    try "predict with $bytes" 5 '' 'holds a value that is not a number' predict nan.safetensors photos/test
    try "training from $bytes" 5 '' 'holds a value that is not a number' \
        train small.yaml --set model.init=nan.safetensors --out none
done
head -c $((size - 100)) $last >cut.safetensors
try 'a truncated checkpoint' 3 '' 'cut.safetensors' eval cut.safetensors
: >empty.safetensors
try 'an empty file' 3 '' 'empty.safetensors' predict empty.safetensors photos/test

# A6, B10, B14: what is passed over is said; damaged images spare the others
mkdir -p odd; cp -r photos/test odd/
printf 'II*\0' >odd/test/ape/a.tif; printf 'II*\0' >odd/test/cat/b.TIFF; mkdir odd/test/empty odd/test/__MACOSX
: >odd/test/bee/.hidden
try 'what is passed over' 0 'on 12 images' '1 .tif' eval $last --data odd
same 'and the rest of it' "$(grep -c '1 .tiff.*hidden.*thumbnails.*without a file: empty' err)" 1
ln -s /nowhere/b.jpg odd/test/cat/b.jpg; ln -s /nowhere odd/test/emu
try 'links to nothing' 0 'on 12 images' '2 links to nothing' eval $last --data odd
printf 'no image' >odd/test/bee/x.jpg
try 'a damaged image' 3 '"odd/test/cat/000.bmp"' '1 of 13 images could not be read' predict $last odd/test
same 'the others have rows' "$(wc -l <out)" 13
mkdir tiffs; printf 'II*\0' >tiffs/a.tif
try 'a folder without readable images' 3 '' 'but 1 .tif' predict $last tiffs

# evaluation in full
try 'all outputs' 0 - - eval $last --json --top 2 --per-class classes.csv --confusion m.csv --confusion m.png \
    --save-logits logits.safetensors
same 'top-k, F1 and accuracy' "$(number top1 out) $(number topk out) $(number f1 out)" '100.0 100.0 1.0'
same 'the matrix has names' "$(cat m.csv)" 'truth,"ape","bee","cat"
"ape",4,0,0
"bee",0,4,0
"cat",0,0,4'
same 'every class' "$(sed -n 2p classes.csv)" '0,"ape",4,100.0000,1.000000,1.000000,1.000000'
same 'the drawing' "$(head -c 4 m.png | od -An -c | tr -d ' ')" '211PNG'
try 'saved logits' 0 '[12 3]' - inspect logits.safetensors
colours wrong/test bee ape cat
try 'two classes swapped' 0 - - eval $last --data wrong --json
same 'one class of three is right' "$(number top1 out | cut -c1-7) $(number recall out | cut -c1-6)" \
    '33.3333 0.3333'
colours 'quo"te/train' 'a"b' 'c,d' cat; colours 'quo"te/test' 'a"b' 'c,d' cat
try 'train with odd names' 0 - - train small.yaml --set 'data.root=quo"te' --out odd-names
try 'eval with odd names' 0 - - eval odd-names --confusion q.csv
same 'quoted by RFC 4180' "$(head -n 1 q.csv)" 'truth,"a""b","c,d","cat"'

# B7: none is off, not a file
try 'none is not a checkpoint' 0 'top-1' - train small.yaml --set model.init=none \
    --set recycle.from.experts=none \
    --set train.epochs=1 --out run7

# A11: a trace changes no bit
for channel in nan time launch shuffle in_order; do
    rm -rf traced
    JETCL_TRACE=$channel "$jetcl" train small.yaml -q --set train.steps=10 --out traced >/dev/null 2>&1
    [ -d untraced ] || "$jetcl" train small.yaml -q --set train.steps=10 --out untraced >/dev/null 2>&1
    try "JETCL_TRACE=$channel" 0 ' 0 differ, 0 only in' - \
        inspect --diff untraced/ckpt/last.safetensors traced/ckpt/last.safetensors
done

# within a run: at the step it happens, not at the next line of the log
try 'a gradient that is not a number' 5 '' 'step 2: the gradient' train small.yaml --set optim.lr=1000 \
    --set optim.weight_decay=1000 \
    --set train.clip_norm=off --set train.batch=2 --out nan-run

# B13: nothing of the driver's compiler on a terminal
JETCL_CACHE_DIR=$dir/fresh POCL_CACHE_DIR=$dir/fresh "$jetcl" predict run photos/test/ape -q >out 2>err
same 'a first run says nothing' "$(cat err)" ''
