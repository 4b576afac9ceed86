# shellcheck shell=bash
# The edge beside nginx and caddy as proxies to one service on a loopback: sourced by bench/run, which has what is used and set here.
# shellcheck disable=SC2154,SC2034
#
# The service (an nginx that answers from memory and from a file, and a Node program for WebSockets) runs inside of a
# sandbox's network namespace, the only place where bermd proxies to. The other proxies and the clients that are not for
# bermd run in there too, so that every path is one loopback.

edge_pids=() # that edge_stop ends
edge_pid=    # whose network namespace is the sandbox's

edge_packages() {
  local missing=()
  for pair in wrk:wrk nginx:nginx-light caddy:caddy; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  # Their services are not wanted: Debian asks this program whether to start one.
  local policy=/usr/sbin/policy-rc.d
  [ -e "$policy" ] && policy=$work/policy-rc.d
  printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >"$work/apt.log" 2>&1 ||
    { cat "$work/apt.log" && rm -f "$policy" && exit 1; }
  rm -f "$policy"
}

inside() { nsenter --net="/proc/$edge_pid/ns/net" "$@"; }

# In the background, as a process of ours and not of a shell between, so that its id is known.
serve_inside() { # log, command
  nsenter --net="/proc/$edge_pid/ns/net" "${@:2}" >"$work/$1.out" 2>&1 &
  edge_pids+=($!)
}

edge_descendants() { # pid
  local pid
  for pid in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
    echo "$pid"
    edge_descendants "$pid"
  done
}

# The first process below this daemon that is pid 1 somewhere: the agent of its only sandbox.
edge_agent() {
  local pid
  for pid in $(edge_descendants "$daemon"); do
    [ "$(awk '/^NSpid/ { print $3 }' "/proc/$pid/status")" = 1 ] || continue
    echo "$pid"
    return
  done
  echo "the sandbox's process was not found" >&2
  return 1
}

edge_start() {
  start_daemon 0 4 --edge-url "http://bench.localhost:$port" --max-connections 20000
  curl -sf -X PUT "http://127.0.0.1:$port/v1/sandbox/edge" >/dev/null
  edge_host=$(curl -sf -X POST -H 'Content-Type: application/json' -d '{"port":8080,"token":"bench"}' \
    "http://127.0.0.1:$port/v1/sandbox/edge/ports" | jq -r .url | sed 's|^http://||; s|:.*||')
  edge_ws_host=$(curl -sf -X POST -H 'Content-Type: application/json' -d '{"port":8090,"token":"ws"}' \
    "http://127.0.0.1:$port/v1/sandbox/edge/ports" | jq -r .url | sed 's|^http://||; s|:.*||')
  edge_pid=$(edge_agent)
  truncate -s 1G "$work/1g"
  edge_nginx service 127.0.0.1:8080 'location / { return 200 "hello\n"; } location /1g { alias '"$work"'/1g; }'
  # With the fields that bermd and caddy tell an application, too: all three have the same to send.
  edge_nginx proxy 127.0.0.1:8081 'location / { proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header Forwarded "for=$remote_addr;host=\"$host\";proto=$scheme"; }'
  cat >"$work/Caddyfile" <<EOF
{
  admin off
  auto_https off
}
:8082 {
  reverse_proxy 127.0.0.1:8080
}
EOF
  serve_inside caddy env HOME="$work" GOMAXPROCS=1 caddy run --config "$work/Caddyfile"
  serve_inside ws scripts/node bench/web-sockets.mjs serve 8090
  # Between the same two ends as bermd: from the host into the sandbox.
  edge_relay_port=$((port + 1))
  "$build/bench/splice-relay" "$edge_relay_port" 8080 "/proc/$edge_pid/ns/net" >"$work/relay.out" 2>&1 &
  edge_pids+=($!)
  for p in 8080 8081 8082; do
    inside curl -sf --retry 50 --retry-delay 1 --retry-connrefused -o /dev/null "http://127.0.0.1:$p/"
  done
}

edge_nginx() { # name, address, locations
  cat >"$work/$1.conf" <<EOF
user root; # the file is in a directory of root's
worker_processes 1;
daemon off;
pid $work/$1.pid;
error_log $work/$1.log;
events { worker_connections 16384; }
http {
  access_log off;
  keepalive_requests 1000000000;
  sendfile on;
  upstream service { server 127.0.0.1:8080; keepalive 128; }
  server { listen $2 reuseport; $3 }
}
EOF
  serve_inside "$1" nginx -c "$work/$1.conf"
}

edge_stop() {
  for pid in "${edge_pids[@]}"; do
    if kill "$pid" 2>/dev/null; then wait "$pid" 2>/dev/null || true; fi
  done
  edge_pids=()
}

# wrk's own words: p50 in ms, requests a second.
edge_wrk() { # connections, url, further arguments
  "${@:3}" wrk -t1 -c"$1" -d"${BENCH_EDGE_SECONDS:-2}" --latency -H "Host: $edge_host" "$2" >"$work/wrk.txt" || cat "$work/wrk.txt" >&2
  awk '/50%/ { v = $2; n = v + 0; print v ~ /us/ ? n / 1000 : v ~ /ms/ ? n : n * 1000 } /Requests\/sec/ { print $2 }' "$work/wrk.txt" | paste -sd' '
}

edge_speed() { # url, further arguments: GB/s
  "${@:2}" curl -sf -o /dev/null -w '%{speed_download}\n' -H "Host: $edge_host" "$1/1g" | awk '{ printf "%.2f", $1 / 1e9 }'
}

edge_best() { # of three: url, further arguments
  for _ in 1 2 3; do
    edge_speed "$@"
    echo
  done | sort -n | tail -1
}

edge_missed() { # value, operator, target, words
  if awk "BEGIN { exit !($1 $2 $3) }"; then return; fi
  echo "  missed: $4 (asked $2 $3)"
  status=3
}

edge_median() { # of numbers, one a line
  sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

edge_column() { # name, column of its rounds
  awk -v n="$2" '{ print $n }' "$work/$1.rounds" | edge_median
}

# Of each round's pair, so that what comes over the machine for a while comes over both.
edge_ratio() { # column
  paste "$work/bermd.rounds" "$work/nginx.rounds" | awk -v n="$1" '{ print $n / $(n + 2) }' | edge_median
}

edge_enter() { # name: sets url and enter
  case $1 in
  direct) url=http://127.0.0.1:8080 enter=(inside) ;;
  nginx) url=http://127.0.0.1:8081 enter=(inside) ;;
  caddy) url=http://127.0.0.1:8082 enter=(inside) ;;
  bermd) url=http://127.0.0.1:$port enter=(env) ;;
  esac
}

bench_edge() {
  local name url one many speed added later rate enter limit ratio
  local rounds=${BENCH_EDGE_ROUNDS:-7}
  printf 'edge: through a proxy to one service; 1 connection, 64 connections, a body of 1 GB; medians of %s rounds by turns\n' "$rounds"
  for _ in $(seq "$rounds"); do
    for name in direct nginx caddy bermd; do
      edge_enter "$name"
      read -r one _ <<<"$(edge_wrk 1 "$url/" "${enter[@]}")"
      read -r _ many <<<"$(edge_wrk 64 "$url/" "${enter[@]}")"
      echo "$one $many" >>"$work/$name.rounds"
    done
  done
  for name in direct nginx caddy bermd; do
    edge_enter "$name"
    speed=$(edge_best "$url" "${enter[@]}")
    printf '  %-8s p50 %s ms   %s requests/s   %s GB/s\n' "$name" "$(edge_column "$name" 1)" "$(edge_column "$name" 2)" "$speed"
  done
  added=$(paste "$work/bermd.rounds" "$work/direct.rounds" | awk '{ print $1 - $3 }' | edge_median)
  later=$(edge_ratio 1) rate=$(edge_ratio 2)
  printf '  added by bermd: %s ms; p50 of nginx with one worker: %s; requests/s of it: %s\n' "$added" "$later" "$rate"
  edge_missed "$added" "<=" 0.15 "added latency in ms"
  edge_missed "$later" "<=" 1 "p50 of nginx"
  edge_missed "$rate" ">=" 1 "requests/s of nginx"
  limit=$(edge_best "http://127.0.0.1:$edge_relay_port" env)
  ratio=$(awk "BEGIN { printf \"%.2f\", $speed / $limit }")
  printf '  splice alone, between the same ends: %s GB/s; bermd has %s of it\n' "$limit" "$ratio"
  if awk "BEGIN { exit !($speed < 2) }"; then edge_missed "$ratio" ">=" 0.95 "of the splice limit, below 2 GB/s"; fi
  bench_edge_idle "${BENCH_EDGE_SOCKETS:-5000}"
}

edge_rss() { awk '/^VmRSS/ { print $2 }' "/proc/$daemon/status"; }

bench_edge_idle() { # count
  local before after each
  before=$(edge_rss)
  scripts/node bench/web-sockets.mjs open "$port" "$edge_ws_host" "$1" >"$work/open.txt" &
  edge_pids+=($!)
  until grep -q open "$work/open.txt" 2>/dev/null; do
    kill -0 "${edge_pids[-1]}" 2>/dev/null || { echo "the WebSockets could not be opened" >&2 && exit 1; }
    sleep 0.1
  done
  after=$(edge_rss)
  each=$(((after - before) * 1024 / $1))
  printf '  %s idle WebSockets: %s bytes of bermd each\n' "$1" "$each"
  edge_missed "$each" "<=" 10240 "bytes for an idle WebSocket"
}
