# shellcheck shell=bash
# Links beside plain TLS over TCP: sourced by bench/run, which has what is used and set here.
# shellcheck disable=SC2154,SC2034
#
# Both ends are in network namespaces with tests/tools/cable between them, a line of user space: so its own limit is
# in all rows, and the plain loopback shows what is there without it. bermd's place at both ends is taken by
# tests/tools/linkctl, so that the way is one unix socket, two berm-link and another unix socket.

link_pids=()
link_ns=() # the processes that hold the namespaces: edge, home
link_port=4433

link_stop() {
  for pid in "${link_pids[@]}"; do
    if kill "$pid" 2>/dev/null; then wait "$pid" 2>/dev/null || true; fi
  done
  link_pids=()
}

link_wait() { # file, pattern
  for _ in $(seq 200); do
    grep -q "$2" "$1" 2>/dev/null && return
    sleep 0.05
  done
  cat "$1" >&2
  echo "no $2 in $1" >&2
  exit 1
}

link_in() { # 0 or 1 (edge, home), command
  nsenter --net --target "${link_ns[$1]}" "${@:2}"
}

# In the background, with a standard input that stays open until link_stop.
link_run() { # log, 0 or 1, command
  mkfifo "$work/$1.in"
  nsenter --net --target "${link_ns[$2]}" "${@:3}" <>"$work/$1.in" >"$work/$1.log" 2>&1 &
  link_pids+=($!)
}

link_line() { # command for the cable
  echo "$1" >"$work/cable.in"
}

link_start() {

  mkfifo "$work/cable.in"
  "$build/tests/tools/cable" <>"$work/cable.in" >"$work/cable.log" &
  link_pids+=($!)
  link_wait "$work/cable.log" '^A '
  read -r _ edge home <"$work/cable.log"
  link_ns=("$edge" "$home")
  for i in 0 1; do
    link_in $i ip link set lo up
    link_in $i ip addr add "10.77.0.$((i + 1))/24" dev cable0
    link_in $i ip link set cable0 up
  done
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=edge.test \
    -addext subjectAltName=IP:10.77.0.1,IP:127.0.0.1 -keyout "$work/link.key" -out "$work/link.crt" 2>/dev/null
}

# Throughput and echoes of one way: MB/s, p50 and p99 in us.
link_measure() { # bytes, pings, 0 or 1, what berm-link-peer connects to ...
  local speed pings
  speed=$(link_in "$3" "$build/bench/berm-link-peer" load "${@:4}" bytes "$1")
  pings=$(link_in "$3" "$build/bench/berm-link-peer" load "${@:4}" pings "$2")
  echo "$speed $pings"
}

link_row() { # label, measured, of plain TLS
  awk -v label="$1" -v row="$2" -v plain="$3" 'BEGIN {
    split(row, r); split(plain, p)
    printf "  %-10s %8.1f MB/s   p50 %7d us  p99 %7d us", label, r[1], r[2], r[3]
    if (row != plain) printf "   (%.2f of its speed, %.2f times its p50)", r[1] / p[1], r[2] / p[2]
    print ""
  }'
}

# The one who asks is at the edge, the one who answers at home; plain TLS connects the same way round.
link_rows() { # label, edge's address, home's address, where home is (0 or 1), bytes, pings
  local plain row transport
  printf '%s\n' "$1"
  link_run tls "$4" "$build/bench/berm-link-peer" serve "$3" 4434 "$work/link.crt" "$work/link.key"
  link_wait "$work/tls.log" ready
  plain=$(link_measure "$5" "$6" 0 tls "$3" 4434)
  link_row 'plain TLS' "$plain" "$plain"
  for transport in quic h2; do
    link_run edge 0 "$build/tests/tools/linkctl" edge "$2" $link_port "$work/local" "$build/berm-link" listen \
      --certificate "$work/link.crt" --key "$work/link.key"
    link_wait "$work/edge.log" '^ready'
    link_run home "$4" "$build/tests/tools/linkctl" home "$build/berm-link" dial --host "$2" --port $link_port \
      --authority "$work/link.crt" --transport $transport
    link_wait "$work/home.log" '^up '
    link_wait "$work/edge.log" '^up '
    row=$(link_measure "$5" "$6" 0 unix "$work/local")
    link_row $transport "$row" "$plain"
    link_end 2
  done
  link_end 1
}

# The last ones that were started.
link_end() { # count
  local pid
  for _ in $(seq "$1"); do
    pid=${link_pids[-1]}
    if kill "$pid" 2>/dev/null; then wait "$pid" 2>/dev/null || true; fi
    unset 'link_pids[-1]'
  done
  rm -f "$work"/{tls,edge,home}.in
}

bench_link() {
  printf 'link: a tunnel beside TLS over TCP\n'
  link_rows 'on the loopback' 127.0.0.1 127.0.0.1 0 "${BENCH_LINK_BYTES:-1000000000}" 5000
  link_rows 'on a cable of no length' 10.77.0.1 10.77.0.2 1 200000000 2000
  link_line 'delay 25'
  link_line 'loss 2'
  link_rows 'with 50 ms there and back, 2 % of loss' 10.77.0.1 10.77.0.2 1 5000000 100
}
