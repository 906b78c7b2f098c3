#!/bin/sh
# test_data_cmd.sh: `jetcl data` as a user runs it: what it prints, writes and returns.
jetcl=$(cd "$(dirname "${TEST_BUILD:-build}/jetcl")" && pwd)/jetcl
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
expect() {                            # NAME EXIT-CODE TEXT COMMAND...: the text must be in what it prints
    name=$1 code=$2 text=$3; shift 3
    out=$("$@" 2>&1)
    got=$?
    if [ $got -eq "$code" ] && printf '%s\n' "$out" | grep -qaF -- "$text"; then echo "ok $name"
    else echo "not ok $name: exit $got, wanted $code and '$text'; it said:"; printf '%s\n' "$out"; fi
}
cat > exp.yaml <<X
name: shown
data: {set: demo, root: $dir, train: a/train, eval: a/test}
model: {arch: vit, image: 32, patch: 8, dim: 24, depth: 1, heads: 2}
train: {batch: 16}
X
expect list 0 "cifar100   CIFAR-100" "$jetcl" data list
expect list_json 0 '"train": 1281167' "$jetcl" data list --json
expect draw_and_stats 0 "a/train of demo: 1800 images, 0 damaged" "$jetcl" data stats exp.yaml
expect stats_other_split 0 "b/test of demo: 500 images" "$jetcl" data stats demo --root "$dir" --split b/test
expect verify 0 "in order" "$jetcl" data verify demo --root "$dir"
expect show 0 "demo/a/train/" "$jetcl" data show exp.yaml --images 20 --png sheet.png --tensor x.safetensors
expect sheet_is_png 0 "PNG" head -c 4 sheet.png
expect tensors 0 "[20 3 32 32]" "$jetcl" inspect x.safetensors
expect show_json 0 '"labels": {' "$jetcl" data show exp.yaml --images 3 --json
"$jetcl" data show exp.yaml --images 20 --tensor y.safetensors --threads 1 >/dev/null 2>&1
expect same_with_one_thread 0 "" cmp x.safetensors y.safetensors
expect show_eval 0 "disc-checker-pair 1" "$jetcl" data show exp.yaml --split eval --images 500
expect speed 0 "img/s with 1 workers" "$jetcl" data speed exp.yaml --seconds 1 --threads 1
expect no_action 2 "did you mean 'verify'?" "$jetcl" data verfy demo
expect no_set 2 "no data set 'cifar11' (did you mean 'cifar" "$jetcl" data verify cifar11
expect not_there 3 "get it with: jetcl data fetch food101" "$jetcl" data stats food101 --root "$dir"
if "$jetcl" data fetch imagenet --root "$dir" 2>&1 | grep -q 'built without'; then
    echo "skip not_fetched built without libcurl or libarchive"
else
    expect not_fetched 2 "imagenet is not fetched" "$jetcl" data fetch imagenet --root "$dir"
fi
expect bad_split 2 "it has train, test" "$jetcl" data stats cifar10 --split val --root "$dir"
expect show_split 2 "--split must be train or eval" "$jetcl" data show exp.yaml --split test
expect square 2 "model.image is 32 x 16, but images of a data set are read as squares" \
    "$jetcl" train exp.yaml --set 'model.image=[32,16]' --out never
expect show_suffix 2 "x.bmp" "$jetcl" data show exp.yaml --tensor x.bmp
rm "$dir/demo/a/test/moon-plain-pair/0001.jpg" "$dir/demo/a/test/moon-plain-pair/0001.png" 2>/dev/null
printf garbage > "$dir/demo/b/test/half-rings-one/0003.jpg"; rm -f "$dir/demo/b/test/half-rings-one/0003.png"
expect verify_damage 3 "half-rings-one/0003.jpg: not a JPEG" "$jetcl" data verify demo --root "$dir"
expect verify_missing 3 "599 of 600 images are left" "$jetcl" data verify demo --root "$dir"
