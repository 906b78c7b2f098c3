#!/bin/sh
# test_profile.sh: train.profile: the trace is what Perfetto reads, its spans nest, and a step is the sum of its
# parts.
. "$(dirname "$0")/run_help.sh"
"$jetcl" devices --json 2>/dev/null | grep -q '"kind": "cpu"' || { echo "skip profile no CPU device"; exit 0; }
command -v python3 >/dev/null || { echo "skip profile no python3"; exit 0; }

cat >exp.yaml <<EOF
name: small
data: {set: demo, root: $dir/data, train: a/train, eval: a/test, workers: 2}
model: {arch: vit, image: 16, patch: 8, dim: 32, depth: 1, heads: 2, drop_path: off}
train: {epochs: 1, batch: 16, steps: 6}
schedule: {warmup_epochs: 1, by: step}
EOF
cat >check.py <<'EOF'
"""check.py TRACE STEPS RANKS: prints what is wrong."""
import json, sys
events = json.load(open(sys.argv[1]))["traceEvents"]
steps, ranks = int(sys.argv[2]), int(sys.argv[3])
spans = [e for e in events if e["ph"] == "X"]
track = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
assert {e["pid"] for e in events if e["name"] == "process_name"} == set(range(ranks)), "processes"
assert all(e["dur"] >= 0 and e["ts"] >= 0 for e in spans), "times"
of = lambda pid, name: [e for e in spans if e["pid"] == pid and track[pid, e["tid"]].startswith(name)]
for t in set(track):
    open_spans = []
    for e in sorted((e for e in spans if (e["pid"], e["tid"]) == t), key=lambda e: (e["ts"], -e["dur"])):
        while open_spans and e["ts"] >= open_spans[-1] - .002:
            open_spans.pop()
        assert not open_spans or e["ts"] + e["dur"] <= open_spans[-1] + .002, \
            f"{track[t]}: {e['name']} does not nest"
        open_spans.append(e["ts"] + e["dur"])
for pid in range(ranks):
    training, kernels = of(pid, "training"), of(pid, "device queue")
    whole = [e for e in training if e["name"].startswith("step ")]
    assert [e["name"] for e in whole] == [f"step {i + 3}" for i in range(steps)], "steps"
    counts = []
    for step in whole:
        inside = lambda e, slack=.002: \
            step["ts"] - slack <= e["ts"] and e["ts"] + e["dur"] <= step["ts"] + step["dur"] + slack
        names = ("wait for data", "compute", "wait for device", "save and report")
        parts = [e for e in training if inside(e) and e["name"] in names]
        assert len(parts) == 4 and abs(sum(e["dur"] for e in parts) - step["dur"]) < .02, \
            f"{step['name']} is not the sum of its parts"
        own = [e for e in kernels if inside(e, 1000)]      # the driver's clock: a millisecond either way
        counts.append(len(own))
        assert sum(e["dur"] for e in own) <= step["dur"] + 2000, "kernels take longer than their step"
    assert len(kernels) > 20 * steps and len(kernels) % steps == 0, f"{len(kernels)} kernels in {steps} steps"
    names = {e["name"] for e in kernels}
    assert any("adamw" in n for n in names) and any("feed" in n for n in names), names
    assert of(pid, "data worker"), "no data worker"
    assert ranks == 1 or of(pid, "MPI"), "nobody waits for a rank"
EOF

"$jetcl" run exp.yaml --out plain >log 2>&1; ok $? "a run" "$(cat log)"
"$jetcl" run exp.yaml --set train.profile=3 --out traced >log 2>&1; ok $? "with a trace" "$(cat log)"
[ ! -e plain/trace.json ]; ok $? "which only a run has that asks for it"
out=$(python3 check.py traced/trace.json 3 1 2>&1); ok $? "is valid, nests, and its parts are the steps" "$out"
python3 -c '
import sys
a, b = (open(f, "rb").read() for f in sys.argv[1:])
sys.exit(a[8 + int.from_bytes(a[:8], "little"):] != b[8 + int.from_bytes(b[:8], "little"):])' \
    */ckpt/last.safetensors
ok $? "and changes no bit of the weights"      # what stands before them has the experiment
"$jetcl" run exp.yaml --set train.profile=100 --out short >log 2>&1
out=$(python3 check.py short/trace.json 4 1 2>&1); ok $? "it ends with the run" "$out"
sed 's/"dur":/"dur":1/' traced/trace.json >bad.json
python3 check.py bad.json 3 1 2>/dev/null; [ $? = 1 ]; ok $? "a trace whose spans overlap is noticed"

(with_ranks                                            # says why where there can be none
mpirun -n 2 "$jetcl" run exp.yaml --set train.profile=2 --out two >log 2>&1
out=$(cat log; python3 check.py two/trace.json 2 2 2>&1); ok $? "two ranks in one trace" "$out")
