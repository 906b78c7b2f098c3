#!/bin/sh
# hosts.sh: four hosts, by hand and as root: network namespaces with names of their own, a bridge at 1 Gb/s
# between them, and a real mpirun over TCP. The losses of one process; a rank that dies and a link that is cut
# end the job with a line that names them, the latter within dist.timeout; the state is continued by three. Only
# addresses inside the namespaces are used.
#
#     make && sh tests/peers/hosts.sh [JETCL]
jetcl=$(realpath "${1:-build/jetcl}") here=$(mktemp -d) tag=jh$$
cd "$here" || exit 1
ok() { if [ "$1" = 0 ]; then echo "ok $2"; else echo "not ok $2"; tail -n 5 "$3" 2>/dev/null; fi; }
close() {
    for i in 0 1 2 3; do
        ip netns pids $tag-$i 2>/dev/null | xargs -r kill -9 2>/dev/null
        ip netns del $tag-$i 2>/dev/null
    done
    ip netns del $tag-b 2>/dev/null
    rm -rf "$here"
}
trap close EXIT
ip netns add $tag-b || { echo "skip hosts no network namespaces here"; exit 0; }
ip -n $tag-b link add name br0 type bridge && ip -n $tag-b link set br0 up
for i in 0 1 2 3; do
    ip netns add $tag-$i
    ip link add e0 netns $tag-$i type veth peer name p$i netns $tag-b
    ip -n $tag-b link set p$i master br0 up
    ip -n $tag-$i addr add 10.77.0.1$i/24 dev e0
    ip -n $tag-$i link set e0 up && ip -n $tag-$i link set lo up
    ip netns exec $tag-$i tc qdisc add dev e0 root tbf rate 1gbit burst 256k latency 50ms
    ip netns exec $tag-b tc qdisc add dev p$i root tbf rate 1gbit burst 256k latency 50ms
done
# mpirun's way to another host, in place of ssh: address, then the command.
cat >agent <<END
#!/bin/sh
host=\${1##*.1}; shift
exec ip netns exec $tag-\$host unshare --uts sh -c "hostname host\$host; \$*"
END
chmod +x agent
cat >exp.yaml <<END
name: small
data: {set: demo, root: $here/data, train: a/train, eval: a/test, workers: 1}
model: {arch: vit, image: 32, patch: 8, dim: 32, depth: 3, heads: 2, drop_path: 0.2,
  moe: {layers: [1, 2], core: 2, universal: 4, dropout: 0.3, noise: 0.5, expert_drop: 0.2}}
train: {epochs: 100, batch: 23, steps: 20}
optim: {lr: 2e-3, eps: 1e-4, layer_decay: off}
schedule: {warmup_epochs: off}
eval: {every: off}
keep: {every: off}
log: {every: 1}
END
export JETCL_CHECK=off POCL_MAX_PTHREAD_COUNT=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_plm_rsh_agent="$here/agent" OMPI_MCA_btl=tcp,self
export OMPI_MCA_btl_tcp_if_include=10.77.0.0/24 OMPI_MCA_oob_tcp_if_include=10.77.0.0/24 \
    OMPI_MCA_orte_execute_quiet=1
# mpirun waits two hours for a host whose link is cut, unless TCP asks sooner; for an answer, a quarter of one.
ip netns exec $tag-0 sh -c 'echo 6 >/proc/sys/net/ipv4/tcp_retries2'
export OMPI_MCA_oob_tcp_keepalive_time=20 OMPI_MCA_oob_tcp_keepalive_intvl=5 OMPI_MCA_oob_tcp_keepalive_probes=2
ranks() { # ranks N LOG options...
    n=$1 log=$2 list=; shift 2
    for i in $(seq 0 $((n - 1))); do list=$list${list:+,}10.77.0.1$i:1; done
    ip netns exec $tag-0 unshare --uts sh -c 'hostname host0; exec "$@"' sh \
        timeout 200 mpirun -n "$n" --host "$list" "$jetcl" run "$here/exp.yaml" "$@" >"$log" 2>&1 </dev/null
    echo "exit $?" >>"$log"
}
losses() { grep '"train"' "$1/metrics.jsonl" | sed 's/.*"loss":\([^,]*\),.*/\1/'; }
started() { for i in $(seq 600); do grep -q loss "$1" 2>/dev/null && return; sleep 0.1; done; }

"$jetcl" run exp.yaml --out "$here/one" -q >/dev/null 2>one.log
ranks 4 four.log --out "$here/four"
grep -q '^exit 0' four.log && grep -q 'rank 3 (host3' four.log; ok $? "four hosts over TCP" four.log
losses one >a; losses four >b
paste a b | awk '{ d = $1 - $2; d = d < 0 ? -d : d; n += d <= 1e-6 * $1 } END { exit !(n == 20) }'
ok $? "the losses of one process"

ranks 4 dead.log --out "$here/dead" --set train.steps=off --set keep.minutes=0.02 &
started dead.log; sleep 3; start=$(date +%s)
kill -9 $(ip netns pids $tag-2 | while read -r p; do
              [ "$(cat /proc/$p/comm 2>/dev/null)" = "$(basename "$jetcl" | cut -c1-15)" ] && echo $p
          done)
wait; grep -q '^exit 0' dead.log; [ $? = 1 ] && [ $(($(date +%s) - start)) -lt 30 ]
ok $? "a rank that is killed ends the job, $(($(date +%s) - start)) s" dead.log
last=$(losses dead | wc -l)
[ -s dead/ckpt/last.state ]; ok $? "its state is there" dead.log
ranks 3 rest.log --out "$here/dead" --resume --set train.steps=$((last + 5))
grep -q '^exit 0' rest.log && grep -q 'continuing after step' rest.log
ok $? "and is continued by three" rest.log

ranks 4 cut.log --out "$here/cut" --set train.steps=off --set dist.timeout=10 &
started cut.log; start=$(date +%s)
ip -n $tag-b link set p3 down
wait; took=$(($(date +%s) - start))
grep -q 'rank 3 (host3.*has not answered for 10 s' cut.log && [ $took -lt 60 ]
ok $? "a link that is cut ends the job with its line, $took s" cut.log
