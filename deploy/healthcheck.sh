#!/bin/bash
# Says whether a container is healthy, by its exit code.
#
#   foa-health broker [PORT]   an MQTT broker answers on this container's loopback [1883]
#   foa-health node [NAME]     a coordinator sees the node of this name online; without a name, the one the
#                              configuration names
#
# A node is asked for at a coordinator, not at its own process: a process that nobody hears is not healthy.
set -u
config=${FOA_CONFIG:-/etc/foa/foa.toml}

broker() {
    # CONNECT of MQTT 3.1.1, clean session, keep alive 5 s, client id "probe". With users configured a broker refuses
    # it or hangs up, which is an answer too; only silence is not.
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf '\x10\x11\x00\x04MQTT\x04\x02\x00\x05\x00\x05probe' >&3
    timeout 3 head -c 4 <&3 >/dev/null || exit 1
    printf '\xe0\x00' >&3 2>/dev/null
    exit 0
}

node() {
    name=$1
    if [ -z "$name" ]; then
        name=$(foa --config "$config" config show | sed -n 's/^name = "\(.*\)"$/\1/p' | head -n 1)
    fi
    found=$(foa --config "$config" nodes --json) || exit 1
    # The first two members of a node's presence are who it is and whether it is there.
    printf '%s' "$found" | tr -d ' \n' | grep -q "\"node\":\"$name\.[a-z2-7]*\",\"online\":true"
}

case ${1:-} in
broker) broker "${2:-1883}" ;;
node) node "${2:-}" ;;
*)
    echo "usage: foa-health broker [PORT] | node [NAME]" >&2
    exit 2
    ;;
esac
