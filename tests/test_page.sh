#!/bin/sh
# test_page.sh: `jetcl report`: one page for runs, tables and comparisons, its numbers, and that text stays
# text.
needs=nothing
. "$(dirname "$0")/run_help.sh"
# How often TEXT is in the page.
found() { grep -o -F -- "$1" page.html | wc -l; }

# Runs as they lie in folders; the second's name is markup, the third is not finished.
evil='<img src=x onerror=alert(1)>'
for i in 1 2 3; do
    mkdir -p "run$i"
    printf 'name: small\nseed: %d\n' $i >"run$i/config.yaml"
    for e in 1 2 3; do
        echo "{\"split\":\"train\",\"epoch\":$e,\"step\":${e}0,\"loss\":$e.5,"\
"\"lr\":0.001,\"grad_norm\":1,\"img_s\":9,\"mem\":8}"
        echo "{\"split\":\"eval\",\"epoch\":$e,\"step\":${e}0,\"loss\":1,\"top1\":4$e.$i,"\
"\"top5\":90,\"n\":5,\"s\":1,\"run_s\":${e}800}"
    done >"run$i/metrics.jsonl"
done
printf 'name: "%s"\nseed: 2\ndata: {classes: ["%s", b]}\n' "$evil" "$evil" >run2/config.yaml
printf '{"version": "%s", "command": ["jetcl", "%s"], "device": {"name": "%s"}}' "$evil" "$evil" "$evil" \
    >run2/env.json

# The first logged its second epoch twice, before and after a resume; the third missed its first. What counts
# are epochs 2 and 3, and the later of the two lines.
sed -i '/"split":"eval","epoch":2/s/.*/&\n&/; ' run1/metrics.jsonl
sed -i '0,/"epoch":2,.*"top1":42.1/s/"top1":42.1/"top1":99/' run1/metrics.jsonl
sed -i '/"split":"eval","epoch":1/d' run3/metrics.jsonl
try "a page of three runs" 0 "page.html" report run1 run2 run3 --out page.html
[ "$(found '<img src=x')" = 0 ] && [ "$(found '&lt;img src=x onerror=alert(1)&gt;')" -ge 4 ]
ok $? "markup in a name stays text"
[ "$(found '<script')" = 0 ] && [ "$(found 'http://')" = 0 ] && [ "$(found 'https://')" = 0 ]
ok $? "no script, nothing from elsewhere"
[ "$(found 'small, seed 1')" -ge 1 ] && [ "$(found 'small, seed 3')" -ge 1 ]; ok $? "every run is in it"
[ "$(found '<td>43.10<td class="words" colspan="9">not finished')" = 1 ]
ok $? "what is known of an unfinished one"
[ "$(found '<svg class="')" -gt 7 ] && [ "$(found '<figure>')" = "$(found '<details><summary>numbers')" ]
ok $? "each picture has its numbers"
[ "$(found '<svg class="by-hours"')" = 2 ] && [ "$(found '>0.8<')" -ge 1 ]
ok $? "and hours where all runs logged them"
# The first file of numbers: top-1 over epochs, seeds 1 and 3 as their mean where both have one, run 2 on its
# own.
sed -n 's/.*href="data:text\/csv;base64,\([^"]*\)".*/\1/p' page.html | head -1 | base64 -d >first.csv
e2=$(printf '%s' "$evil")
{
    printf '"epoch","small, 2 seeds","small, 2 seeds: least","small, 2 seeds: largest",'
    printf '"small, 2 seeds: hours","%s","%s: hours"\n' "$e2" "$e2"
    printf '"1",,,,,41.2,0.5\n"2",42.2,42.1,42.3,0.777778,42.2,0.777778\n'
    printf '"3",43.2,43.1,43.3,1.05556,43.2,1.05556\n'
} >want.csv
cmp first.csv want.csv; ok $? "and they are those of the runs" "$(cat first.csv)"

# As a parser of HTML has it: names, and markup as path, argument, class and file, are text wherever they stand.
# dom PAGE NAME PLACE...
dom() {
    page=$1 name=$2; shift 2
    out=$(python3 "$here/tests/page_dom.py" "$page" "$evil" "$@" 2>&1); ok $? "$name" "$out"
}
command -v python3 >/dev/null || dom() { echo "skip $2: no python3"; }
dom page.html "a name is text in each place" text title csv pre code
cp -r run1 "$evil"
mkdir "$evil/analysis"
printf 'class,hits\n"%s",1\n' "$evil" >"$evil/analysis/$evil.csv"
try "a page of a path that is markup" 0 "evil.html" report "$evil" --out evil.html
dom evil.html "a path, a file and a class in it are text" text attribute csv code
printf '{"command": ["%s"]}' "$evil" >run3/env.json
try "a page of a command" 0 "" report run3 --out evil.html
dom evil.html "an argument is text" text code
rm run3/env.json

# BROWSER=chromium: what a browser makes of it, by hand; no distribution's tests need one.
if [ -n "${BROWSER:-}" ]; then
    "$BROWSER" --headless --no-sandbox --disable-gpu --user-data-dir="$PWD/profile" --enable-logging=stderr \
        --dump-dom "file://$PWD/page.html" >dom.html 2>console; code=$?
    [ $code = 0 ] && ! grep -q CONSOLE console
    ok $? "a browser has nothing to complain of" "exit $code: $(grep CONSOLE console)"
    for text in 'small, seed 1' '&lt;img src=x onerror=alert(1)&gt;, seed 2' 'small, seed 3'; do
        grep -q -F "$text" dom.html; ok $? "and shows $text"
    done
    dom dom.html "and markup of names as text" text title csv pre code
    [ "$(grep -o '<svg class="by' dom.html | wc -l)" = "$(grep -o '<svg class="by' page.html | wc -l)" ]
    ok $? "and every picture"
fi

try "a target" 0 "" report run1 run2 run3 --target 42.25 --out page.html
[ "$(found 'class="target"')" = 2 ] && [ "$(found '<td>3<td>1.06')" = 2 ] && [ "$(found '<td>2<td>0.778')" = 1 ]
ok $? "and when each run reaches it"
try "a target that is none" 2 "--target" report run1 --target much --out page.html

# Everything once more by other means: structure, links, means, intervals, tests between seeds.
for i in 4 5 6; do
    mkdir -p "run$i"
    printf 'name: large\nseed: %d\n' $((i - 3)) >"run$i/config.yaml"
    echo "{\"split\":\"eval\",\"epoch\":3,\"step\":30,\"loss\":1,\"top1\":5$i.$i,\"run_s\":60}" \
        >"run$i/metrics.jsonl"
done
mkdir -p run7
sed 's/seed: 1/seed: 2/' run1/config.yaml >run7/config.yaml
sed 's/"top1":43.1/"top1":44.9/' run1/metrics.jsonl >run7/metrics.jsonl
if command -v python3 >/dev/null; then
    "$jetcl" report run1 run3 run4 run5 run6 run7 --out page.html >/dev/null 2>&1
    out=$(python3 "$here/tests/page_numbers.py" runs page.html run1 run3 run4 run5 run6 run7)
    ok $? "numbers, links and tests are those of the raw files" "$out"
    "$jetcl" report run1 run2 run3 run4 --out page.html >/dev/null 2>&1
    sed 's/"top1":54.4/"top1":54.5/' run4/metrics.jsonl >changed && mv changed run4/metrics.jsonl
    python3 "$here/tests/page_numbers.py" runs page.html run1 run2 run3 run4 >/dev/null
    [ $? = 1 ]; ok $? "and that would notice another one"
else
    echo "skip numbers of the page: no python3"
fi

# A peak in a long run is drawn: the axis reaches it.
awk 'BEGIN { for (i = 1; i <= 30000; i++)
    printf "{\"split\":\"train\",\"epoch\":1,\"step\":%d,\"loss\":%s,\"lr\":1}\n", i, i == 12345 ? 77 : 1 }' \
        >run3/metrics.jsonl
try "a long run" 0 "" report run3 --out page.html
[ "$(sed -n 's/.*<path class="line c0 d0" d="\([^"]*\)".*/\1/p' page.html | head -1 | grep -o 'L' | wc -l)" \
    -lt 2000 ]
ok $? "is thinned"
sed -n 's/.*<path class="line c0 d0" d="\([^"]*\)".*/\1/p' page.html | head -1 | grep -q ' [12][0-9]\.[0-9]L'
ok $? "but keeps its peak"
sed -n 's/.*<path class="line c0 d0" d="\([^"]*\)".*/\1/p' page.html | head -1 | tr ML '\n\n' |
    awk 'NF == 2 { if (n && $1 < x) bad = 1; x = $1; if (!n) top = first = $2; if ($2 < top) top = $2; n++ }
        END { exit !(n > 100 && !bad && top < first - 50) }'
ok $? "from left to right, larger values above"

# A comparison, with a label that is markup.
cat >comparison.json <<EOF
{"format": "jetcl comparison 1",
 "records": [{"label": "$evil", "device": "A", "loss": [2, 1], "loss_reseeded": [2.1, 1.2], "step_ms": 2,
              "kernels": [{"name": "matmul", "ms": 1.5}]},
             {"label": "B", "device": "B", "loss": [2, 1.5], "step_ms": 6,
              "kernels": [{"name": "matmul", "ms": 3}, {"name": "$evil", "ms": 2}, {"name": "=1+1", "ms": 1}]}],
 "pairs": [{"a": "$evil", "b": "B", "verdict": "differs from step 2 on", "speed": 3,
   "gap": [0, 0.5], "allowed": [0.1, 0.1],
   "tensors": [{"name": "blocks.0.attn.qkv.weight", "kind": "gradient", "step": 1,
                "error": 0.01, "bound": 1e-6, "equal": false},
               {"name": "$evil", "kind": "gradient", "step": 10, "error": 0.01, "bound": 1e-6, "equal": false},
               {"name": "block.0", "kind": "forward", "step": 1, "error": 0, "bound": 1e-6, "equal": true}]}]}
EOF
try "a page of a comparison" 0 "" report comparison.json --out page.html
[ "$(found '<img src=x')" = 0 ] && [ "$(found '&lt;img')" -ge 3 ]; ok $? "its labels stay text"
dom page.html "labels, kernels and tensors are text in each place" text title attribute csv
[ "$(found 'is 3 times as fast')" = 1 ] && [ "$(found 'class="e5"')" = 2 ] && [ "$(found 'class="e0"')" = 1 ]
ok $? "verdict and strip"
sed -n 's/.*href="data:text\/csv;base64,\([^"]*\)".*/\1/p' page.html | tail -1 | base64 -d |
    grep -q "^\"'=1+1\",,1$"
ok $? "a spreadsheet computes nothing of a name"
try "a page of a table" 0 "" report "$here/experiments/tables/table1-vit-t.yaml" --out page.html
[ "$(found 'paper 79.9')" -ge 1 ]; ok $? "with the paper's numbers"

try "a folder that is not a run" 3 "no run" report "$dir/../gen" --out page2.html
try "no such file" 3 "no such file" report nothing --out page2.html
[ ! -e page2.html ]; ok $? "and no page is left"
try "a page needs a name" 2 "--out" report run1
cp page.html before.html
echo '{' >broken.json
try "a damaged comparison" 3 "broken.json:" report broken.json --out page.html
cmp -s page.html before.html; ok $? "spares the page that was there"
