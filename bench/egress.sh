# shellcheck shell=bash
# The way out of a sandbox beside the host's own: sourced by bench/run, after edge.sh, which has what starts servers.
# shellcheck disable=SC2154,SC2034
#
# bermd runs in a network namespace of its own, as the host; another one, joined by a veth, has an nginx at an address of
# the public internet, which leads nowhere else.

egress_address=93.184.216.34

egress_namespace() { # sets egress_made
  unshare --net sleep infinity &
  egress_made=$!
  edge_pids+=("$egress_made")
  until [ "$(readlink "/proc/$egress_made/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
}

egress_start() {
  local host
  egress_namespace && host=$egress_made
  egress_namespace && edge_pid=$egress_made # where inside() and serve_inside() go
  net=(nsenter "--net=/proc/$host/ns/net")
  "${net[@]}" ip link set lo up
  "${net[@]}" ip link add wan type veth peer name lan netns "$edge_pid"
  "${net[@]}" ip addr add 172.31.0.1/24 dev wan
  "${net[@]}" ip link set wan up
  inside ip link set lo up
  inside ip addr add 172.31.0.2/24 dev lan
  inside ip addr add "$egress_address/32" dev lo
  inside ip link set lan up
  "${net[@]}" ip route add default via 172.31.0.2
  truncate -s 1G "$work/1g"
  edge_nginx far 80 'location / { return 200 "hello\n"; } location /1g { alias '"$work"'/1g; }'
  # Nothing is made ready: what egress costs at creation would be hidden.
  start_daemon 0 0
  "${net[@]}" curl -sf --retry 50 --retry-delay 1 --retry-connrefused -o /dev/null "http://$egress_address/"
  "${net[@]}" curl -sf -X PUT "http://127.0.0.1:$port/v1/sandbox/egress" >/dev/null
}

egress_speed() { # further arguments run the command: GB/s
  "$@" "curl -sf -o /dev/null -w '%{speed_download}' http://$egress_address/1g" | awk '{ printf "%.2f", $1 / 1e9 }'
}

egress_in_sandbox() { # command
  jq -n --arg command "$1" '{ $command }' | "${net[@]}" curl -sf -X POST -H 'Content-Type: application/json' -d @- \
    "http://127.0.0.1:$port/v1/sandbox/egress/execute" | jq -r .stdout
}

bench_egress() {
  local best_host=0 best_sandbox=0 speed ratio
  printf 'egress: 1 GB by curl from the host and from a sandbox, in turn; the best of five\n'
  for _ in 1 2 3 4 5; do
    speed=$(egress_speed "${net[@]}" sh -c)
    best_host=$(awk "BEGIN { print ($speed > $best_host ? $speed : $best_host) }")
    speed=$(egress_speed egress_in_sandbox)
    best_sandbox=$(awk "BEGIN { print ($speed > $best_sandbox ? $speed : $best_sandbox) }")
  done
  ratio=$(awk "BEGIN { printf \"%.2f\", $best_sandbox / $best_host }")
  printf '  host %s GB/s   sandbox %s GB/s   ratio %s\n' "$best_host" "$best_sandbox" "$ratio"
  edge_missed "$ratio" ">=" 0.8 "of the host's speed"
  "${net[@]}" "$bench" egress "$port" "$runs" || status=3
}
