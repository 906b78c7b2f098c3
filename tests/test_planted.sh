#!/bin/sh
# test_planted.sh: faults of a per cent in every kernel, all at a time: the self-test names each, and nothing
# else.
build=${TEST_BUILD:-build}
here=$(cd "$(dirname "$0")/.." && pwd)
case $build in /*) ;; *) build=$here/$build ;; esac
jetcl=$build/jetcl
dir=$build/test_planted
rm -rf "$dir" && mkdir -p "$dir" && cd "$dir" || exit 1
"$jetcl" devices --json 2>/dev/null | grep -q '"kind": "cpu"' || { echo "skip planted no CPU device"; exit 0; }

ok()  { if [ "$1" = 0 ]; then echo "ok $2"; else echo "not ok $2"; [ -n "${3:-}" ] && echo "   $3"; fi; }
has() { case $1 in *"$2"*) return 0 ;; esac; return 1; }
plant() { # plant FOLDER FILE 's/one/other/'
    cp "$1/$2" before && sed -i "$3" "$1/$2"
    cmp -s before "$1/$2" && echo "not ok $2: nothing was planted by $3"
}

# whole DEVICE < rows of FILE@sed@KERNEL, KERNEL as "file.cl kernel" of the self-test's table, which may stand
# in a line of its own. All at once: each node is compared with loops over its own operands, so that none hides
# another. Not optimised, which takes half the time: a per cent is too much in any case.
whole() {
    rm -rf bad && cp -r "$here/cl" bad && : >want
    while IFS=@ read -r file change kernel; do
        [ -n "$kernel" ] || read -r kernel
        [ -n "$change" ] && plant bad "$file" "$change"
        echo "$kernel" >>want
    done
    JETCL_CL=bad JETCL_CL_OPTIONS=-cl-opt-disable "$jetcl" devices --check --device "$1" >out 2>err; code=$?
    [ $code = 5 ]; ok $? "$1: exit code" "$code: $(cat err)"
    sed -n 's/^  *\([a-z_0-9]*\.cl [^ ]*\|map (generated)\) .*FAILED in.*/\1/p' out | sort -u >failed
    sort -u want | while read -r kernel; do
        file=${kernel%% *} name=${kernel#* }
        grep -q "^$file \(.*+\)*$name\(+.*\)*$" failed; ok $? "$1: $kernel" "$(grep "^  $file" out)"
    done
    while read -r row; do                         # a row may have several kernels
        file=${row%% *} found=1
        for name in $(echo "${row#* }" | tr + ' '); do
            grep -q "^$file .*$name" want && found=0
        done
        [ $found = 0 ] || echo "not ok $1: $row has no fault: $(grep "^  $row" out)"
    done <failed
}

whole cpu <<'ROWS'
cpu/matmul.cl@s/y \*= t->alpha;/y *= 1.01f * t->alpha;/@matmul.cl matmul
cpu/attention.cl@s|vstore16(1 / vload16(0, sums), 0, sums);|vstore16(1.01f / vload16(0, sums), 0, sums);|@
    attention.cl attention
cpu/attention.cl@s/one\[r\] = 1;/one[r] = 1.01f;/@attention.cl attention_grad
cpu/conv.cl@s/biased ? LOAD(bias + n) : 0/biased ? 1.1f * LOAD(bias + n) : 0/@conv.cl depthwise
cpu/conv.cl@s/clamp(lane - (n0 - n) + 1, 0.0f, 1.0f)/1.01f * &/@conv.cl depthwise_grad
conv.h@s/biased ? bias\[n\] : 0, i,/biased ? 1.1f * bias[n] : 0, i,/@conv.cl depthwise_plain
conv.h@s/dw\[k \* c + n\] = s;/dw[k * c + n] = 1.01f * s;/@conv.cl depthwise_grad_plain
cpu/route.cl@s|other\[v\] = 1.0f / other\[v\];|other[v] = 1.01f / other[v];|@route.cl route
cpu/route.cl@s/-r_disp \* r_disp \* sum_16(h1)/1.01f * -r_disp * r_disp * sum_16(h1)/@route.cl route_grad
cpu/pairs.cl@s/(sum << 4)/(sum << 3)/@pairs.cl pairs
softmax.cl@s|s0 = 1.0f / s0;|s0 = 1.01f / s0;|@softmax.cl softmax_columns
softmax.cl@s/const float dot = sum_16(s);/const float dot = 1.01f * sum_16(s);/@softmax.cl softmax_grad_rows
softmax.cl@s/STORE_PAIR(y0 \* (g0 - s0)/STORE_PAIR(1.01f * y0 * (g0 - s0)/@softmax.cl softmax_grad_columns
entmax.cl@s/entmax_row(x + i \* cols, y + i \* cols, cols, max_16(m));/& y[i * cols] *= 1.01f;/@
    entmax.cl entmax15
entmax.cl@s/const float mean = entmax_mean/const float mean = 1.01f * entmax_mean/@entmax.cl entmax15_grad
move.cl@s/STORE_16(Ty, \(LOAD_16(Tx, s + j, n - j, 0), d + j\)/STORE_16(Ty, 1.01f * \1/@move.cl copy_block
move.cl@@move.cl pad_block
move.cl@@move.cl permute_rows
move.cl@s/STORE_16(Ty, x##k, dst/STORE_16(Ty, 1.01f * x##k, dst/@move.cl permute_transpose
map.h@s/#define store_v(x, p, n) store_16(x, p, n)/#define store_v(x, p, n) store_16((x) * 1.01f, p, n)/@
    map (generated)
norm.cl@/^static inline float2 statistics/,/^}/s|1.0f / sqrt|1.01f / sqrt|@norm.cl layernorm_affine
norm.cl@@norm.cl layernorm
norm.cl@s|const float m1 = r \* |const float m1 = 1.01f * r * |@norm.cl layernorm_grad
norm.cl@s|cols, 1.0f / (sqrt(row_square|cols, 1.01f / (sqrt(row_square|@norm.cl l2norm
norm.cl@s|cols, 1.0f / sqrt(row_square|cols, 1.01f / sqrt(row_square|@norm.cl l2norm_inside
norm.cl@s|-dot \* c \* c / r;|1.01f * -dot * c * c / r;|@norm.cl l2norm_grad
norm.cl@s|-dot \* c \* c \* c);|1.01f * -dot * c * c * c);|@norm.cl l2norm_inside_grad
adamw.cl@s/sqrt(vj) \/ root2/1.01f * sqrt(vj) \/ root2/@adamw.cl adamw
adamw.cl@s/s += load_16(partials + j/s += 1.01f * load_16(partials + j/@adamw.cl add_partials
adamw.cl@s/load_16(x + j, j1 - j, 0) \* share)/load_16(x + j, j1 - j, 0) * share * 1.01f)/@adamw.cl blend_into
feed.cl@s/to\[x\] = alone\[p\[3 \* x\]\];/to[x] = 1.01f * alone[p[3 * x]];/@feed.cl feed
stats.cl@s/s1 += fabs(y);/s1 += 1.01f * fabs(y);/@stats.cl stats_add
limits.cl@s|all.y + sqrt(all.z / all.x)|all.y + 1.1f * sqrt(all.z / all.x)|@limits.cl limit_mean_std
limits.cl@s/limit\[group\] = low + (high - low) \* share;/limit[group] = 1.1f * low;/@limits.cl limit_percentile
loss.cl@s/loss\[i\] = sum_16(s);/loss[i] = 1.01f * sum_16(s);/@loss.cl cross_entropy
loss.cl@s/(p - soft) \* g\[i\]/(p - 1.01f * soft) * g[i]/@loss.cl cross_entropy_grad
loss_scale.cl@s/max(scale \* 0.5f/max(scale * 0.25f/@loss_scale.cl loss_scale
start.cl@s/clamp(v \* scale/clamp(1.01f * v * scale/@start.cl draw
start.cl@s/const float16 v = as_float(pattern);/const float16 v = 1.01f * as_float(pattern);/@start.cl fill
reduce.cl@s/STORE_1(Ty, sum_16(s), y/STORE_1(Ty, 1.01f * sum_16(s), y/@reduce.cl sum_rows
reduce.cl@s/STORE_16(Ty, s, y/STORE_16(Ty, 1.01f * s, y/@reduce.cl sum_columns
ROWS

# The other class's files, by hand: minutes of PoCL's compiler.  PLANTED=gpu make test T=planted
[ "${PLANTED:-}" != gpu ] || whole cpu@gpu <<'ROWS'
epilogue.h@s/^    y \*= alpha;/    y *= 1.01f * alpha;/@matmul.cl matmul
gpu/attention.cl@s|left, sum, 1 / total);|left, sum, 1.01f / total);|@attention.cl attention
gpu/attention.cl@s/left, sum, 1);/left, sum, 1.01f);/@attention.cl attention_dq
gpu/attention.cl@s/left, sum_v, 1);/left, sum_v, 1.01f);/@attention.cl attention_dkv
gpu/conv.cl@s/biased ? bias\[n\] : 0/biased ? 1.1f * bias[n] : 0/@conv.cl depthwise
gpu/conv.cl@s/dw\[k \* c + n\] = sum\[k\];/dw[k * c + n] = 1.01f * sum[k];/@conv.cl depthwise_grad
gpu/entmax.cl@s/STORE_1(Ty, entmax_part/STORE_1(Ty, 1.01f * entmax_part/@entmax.cl entmax15
gpu/entmax.cl@s|const float mean = s.y / s.x;|const float mean = 1.01f * s.y / s.x;|@entmax.cl entmax15_grad
gpu/loss.cl@s/loss\[i\] = s;/loss[i] = 1.01f * s;/@loss.cl cross_entropy
gpu/loss.cl@s|smoothing / cols)) \* g\[i\];|smoothing / cols)) * 1.01f * g[i];|@loss.cl cross_entropy_grad
gpu/move.cl@s/STORE_1(Ty, LOAD_1(Tx, src + r/STORE_1(Ty, 1.01f * LOAD_1(Tx, src + r/@move.cl copy_block
gpu/move.cl@s/k < run ? LOAD_1/k < run ? 1.01f * LOAD_1/@move.cl pad_block
gpu/move.cl@s/STORE_1(Ty, \(LOAD_1(Tx, from + j), dst + r \* run\)/STORE_1(Ty, 1.01f * \1/@move.cl permute_rows
gpu/move.cl@s/STORE_1(Ty, square/STORE_1(Ty, 1.01f * square/@move.cl permute_transpose
gpu/norm.cl@s/STORE_1(Ty, (LOAD_1(Tx, x + i/STORE_1(Ty, 1.01f * (LOAD_1(Tx, x + i/@norm.cl layernorm
gpu/norm.cl@s/STORE_1(Ty, fma((LOAD_1(Tx, x + i/STORE_1(Ty, 1.01f * fma((LOAD_1(Tx, x + i/@
    norm.cl layernorm_affine
gpu/norm.cl@s/sum_w = fma(gj, n, sum_w);/sum_w = fma(1.01f * gj, n, sum_w);/@norm.cl layernorm_grad
gpu/norm.cl@s/STORE_1(Ty, LOAD_1(Tx, x + j) \* c/STORE_1(Ty, 1.01f * LOAD_1(Tx, x + j) * c/@norm.cl l2norm
gpu/norm.cl@@norm.cl l2norm_inside
gpu/norm.cl@s/STORE_1(Ty, fma(LOAD_1(Tx, x + j), slope/STORE_1(Ty, 1.01f * fma(LOAD_1(Tx, x + j), slope/@
    norm.cl l2norm_grad
gpu/norm.cl@@norm.cl l2norm_inside_grad
gpu/pairs.cl@s/+= sum\[EACH \* i + j\];/+= sum[EACH * i + j] + 1;/@pairs.cl pairs
gpu/reduce.cl@s/STORE_1(Ty, s, y + i \* splits/STORE_1(Ty, 1.01f * s, y + i * splits/@reduce.cl sum_rows
gpu/reduce.cl@s/STORE_1(Ty, s, y + (i/STORE_1(Ty, 1.01f * s, y + (i/@reduce.cl sum_columns
gpu/route.cl@s/y\[j\] = entmax_part(y\[j\], top, tau);/y[j] = 1.01f * entmax_part(y[j], top, tau);/@
    route.cl route_entmax
gpu/route.cl@s|    s = 1.0f / s;|    s = 1.01f / s;|@route.cl route_dispatch
gpu/route.cl@s/const float d = y\[k\] \* (g\[k\] - s);/const float d = 1.01f * y[k] * (g[k] - s);/@
    route.cl route_dispatch_grad
gpu/route.cl@s|const float mean = \(flags & ENTMAX ? s.y / s.x : s.y\);|const float mean = 1.01f * (\1);|@
    route.cl route_combine_grad
gpu/softmax.cl@s|const float scale = 1.0f / team_sum|const float scale = 1.01f / team_sum|@
    softmax.cl softmax_rows
gpu/softmax.cl@s|const float scale = 1.0f / s;|const float scale = 1.01f / s;|@softmax.cl softmax_columns
gpu/softmax.cl@s/STORE_1(Ty, LOAD_1(Tx, y + i/STORE_1(Ty, 1.01f * LOAD_1(Tx, y + i/@softmax.cl softmax_grad_rows
gpu/softmax.cl@s/STORE_1(Ty, LOAD_1(Tx, y + base/STORE_1(Ty, 1.01f * LOAD_1(Tx, y + base/@
    softmax.cl softmax_grad_columns
gpu/stats.cl@s/s1 += fabs(y);/s1 += 1.01f * fabs(y);/@stats.cl stats_add
gpu/adamw.cl@s|(sqrt(vj) / root2|(1.01f * sqrt(vj) / root2|@adamw.cl adamw
gpu/adamw.cl@s/x\[j\] \* share)/1.01f * x[j] * share)/@adamw.cl blend_into
ROWS

# Before a training, the line names kernel and layer, and nothing is written.
cat > exp.yaml <<YAML
name: small
data: {set: demo, root: $dir/data, train: a/train, eval: a/test, workers: 1}
model: {arch: vit, image: 16, patch: 8, dim: 16, depth: 2, heads: 1, drop_path: off,
        moe: {layers: [1], core: 3, universal: 5}}
train: {epochs: 1, batch: 4, steps: 1}
YAML
refused() { # refused NAME FILE sed TEXT
    rm -rf one run && cp -r "$here/cl" one && plant one "$2" "$3"
    out=$(JETCL_CHECK= JETCL_CL=one "$jetcl" train exp.yaml --device cpu --out run 2>&1 </dev/null); code=$?
    [ $code = 4 ] && has "$out" "$4" && [ ! -e run/metrics.jsonl ]
    ok $? "before a training: $1" "exit $code: $out"
}
refused "a normalisation" norm.cl 's|const float m1 = r \* |const float m1 = 1.01f * r * |' \
    "layernorm_grad in norm.cl layernorm_grad"
refused "the optimiser" adamw.cl 's/sqrt(vj) \/ root2/1.01f * sqrt(vj) \/ root2/' \
    "a step of the optimiser in adamw.cl adamw"
refused "a batch" feed.cl 's/to\[x\] = alone/to[x] = 1.01f * alone/' "a batch in feed.cl erase+feed"

# Products of a batch of matrices only: those of experts.
sed -i '/^data:/d' exp.yaml
cp -r "$here/cl" batched
plant batched product.h 's|z / inner \* l.z|min(z / inner, 1) * l.z|'
out=$(JETCL_CL=batched "$jetcl" compare exp.yaml --device cpu,cpu@plain --steps 1 2>&1 </dev/null)
echo "$out" | grep -q 'cpu is off: blocks.1.mlp.* in matmul.cl matmul'
ok $? "products of experts are named by their layer" "$out"

# A sum whose order follows from which group came first: within rounding, but not the same bits twice.
if [ "$(nproc)" -gt 1 ]; then
    cp -r "$here/cl" racy
    plant racy cpu/matmul.cl \
        '/^ALONE kernel void matmul(/,/^}/s/alpha\(, block, share\)/alpha * (1 + 3e-7f * get_group_id(0))\1/'
    out=$(JETCL_CL=racy "$jetcl" compare exp.yaml --device cpu,cpu --set model.image=64 --set model.dim=96 \
              --set train.batch=16 --steps 3 2>&1 </dev/null); code=$?
    [ $code = 5 ] && has "$out" "the same device gives other bits" &&
        has "$out" "in matmul.cl matmul: other bits at each launch"
    ok $? "an order that is not fixed is named by layer and kernel" "exit $code: $out"
else
    echo "skip an order that is not fixed: one processor"
fi
