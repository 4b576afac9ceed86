# shellcheck shell=bash
# The way out of a sandbox beside the host's own: sourced by bench/run, after edge.sh, which has what starts servers.
# shellcheck disable=SC2154,SC2034
#
# bermd runs in a network namespace of its own, as the host; another one, joined by a veth, has an nginx at an address of
# the public internet, which leads nowhere else. A splice relay between the same two ends is the floor.

egress_address=93.184.216.34
egress_relay=9000 # in the sandbox

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
  nsenter "--net=/proc/$(edge_agent)/ns/net" "$build/bench/splice-relay" $egress_relay 80 "/proc/$host/ns/net" $egress_address \
    >"$work/relay.out" 2>&1 &
  edge_pids+=($!)
}

egress_speed() { # address; further arguments run the command: GB/s
  "${@:2}" "curl -sf -o /dev/null -w '%{speed_download}' http://$1/1g" | awk '{ printf "%.2f", $1 / 1e9 }'
}

egress_in_sandbox() { # command
  jq -n --arg command "$1" '{ $command }' | "${net[@]}" curl -sf -X POST -H 'Content-Type: application/json' -d @- \
    "http://127.0.0.1:$port/v1/sandbox/egress/execute" | jq -r .stdout
}

bench_egress() {
  local name speed ratio
  declare -A best=([host]=0 [sandbox]=0 [relay]=0)
  printf 'egress: 1 GB by curl from the host, from a sandbox, and from there through a splice relay, in turn; the best of five\n'
  for _ in 1 2 3 4 5; do
    for name in host sandbox relay; do
      case $name in
      host) speed=$(egress_speed $egress_address "${net[@]}" sh -c) ;;
      sandbox) speed=$(egress_speed $egress_address egress_in_sandbox) ;;
      relay) speed=$(egress_speed 127.0.0.1:$egress_relay egress_in_sandbox) ;;
      esac
      best[$name]=$(awk "BEGIN { print ($speed > ${best[$name]} ? $speed : ${best[$name]}) }")
    done
  done
  ratio=$(awk "BEGIN { printf \"%.2f\", ${best[sandbox]} / ${best[host]} }")
  printf '  host %s GB/s   sandbox %s GB/s   ratio %s   splice alone %s GB/s\n' "${best[host]}" "${best[sandbox]}" "$ratio" "${best[relay]}"
  edge_missed "$ratio" ">=" 0.8 "of the host's speed"
  "${net[@]}" "$bench" egress "$port" "$runs" || status=3
}
