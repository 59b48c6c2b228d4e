#!/bin/sh
# An artifact between two networks that have only the broker in common, and a direct path that is told through it.
#
#   net 1: coordinator ──10.177.1── broker ──10.177.2── net 2: submitter
#              └───────────────10.177.3───────────────────┘   announced addresses, found through the broker alone
#
# Needs root, iproute2 and the binary: sudo tests/namespaces.sh target/debug/foa
set -eu
foa=$(realpath "${1:?usage: tests/namespaces.sh PATH-OF-FOA}")
dir=$(mktemp -d)
pids=""
one="foa1-$$" two="foa2-$$" hub="foah-$$"
clean() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    for ns in "$one" "$two" "$hub"; do ip netns del "$ns" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap clean EXIT

for ns in "$one" "$two" "$hub"; do
    ip netns add "$ns"
    ip -n "$ns" link set lo up
done
join() { # namespace, interface, address, namespace, interface, address
    ip -n "$1" link add name "$2" type veth peer name "$5" netns "$4"
    ip -n "$1" addr add "$3/24" dev "$2" && ip -n "$1" link set "$2" up
    ip -n "$4" addr add "$6/24" dev "$5" && ip -n "$4" link set "$5" up
}
join "$hub" to-one 10.177.1.1 "$one" broker 10.177.1.2
join "$hub" to-two 10.177.2.1 "$two" broker 10.177.2.2
join "$one" direct 10.177.3.1 "$two" direct 10.177.3.2

cat >"$dir/atlas.toml" <<END
[node]
name = "atlas"
data_dir = "$dir/atlas"
roles = ["coordinator"]
accept_unsigned = false
[broker]
url = "mqtt://10.177.1.1:1883"
[artifacts]
listen = ["/ip4/10.177.3.1/udp/4001/quic-v1"]
END
cat >"$dir/client.toml" <<END
[client]
name = "guest"
key_file = "$dir/guest.key"
[broker]
url = "mqtt://10.177.2.1:1883"
[artifacts]
listen = ["/ip4/10.177.3.2/udp/0/quic-v1"]
END

ip netns exec "$hub" "$foa" broker --listen 0.0.0.0:1883 >"$dir/broker.log" 2>&1 &
pids="$pids $!"
ip netns exec "$one" "$foa" node --config "$dir/atlas.toml" >"$dir/atlas.log" 2>&1 &
pids="$pids $!"
head -c 50000000 /dev/urandom >"$dir/report.bin"
tries=0
until id=$(ip netns exec "$two" "$foa" --config "$dir/client.toml" artifacts put "$dir/report.bin" 2>"$dir/put.log"); do
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || { cat "$dir"/*.log; exit 1; }
done
cmp "$dir/report.bin" "$dir/atlas/artifacts/${id#blake3:}"
crossed=$(ip netns exec "$one" cat /sys/class/net/direct/statistics/rx_bytes)
broker=$(ip netns exec "$one" cat /sys/class/net/broker/statistics/rx_bytes)
[ "$crossed" -gt 50000000 ] && [ "$broker" -lt 5000000 ]
ip netns exec "$two" "$foa" --config "$dir/client.toml" artifacts get "$id" -o "$dir/copy.bin" 2>>"$dir/put.log"
cmp "$dir/report.bin" "$dir/copy.bin"
echo "50 MB: $crossed bytes arrived on the direct path, $broker bytes by way of the broker; and they came back whole"
