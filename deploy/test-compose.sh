#!/bin/bash
# Brings the compose federation up, asks it, kills a worker in the middle of a job, asks again, and takes it down.
#
#   deploy/test-compose.sh [--install] [--from-source] [--keep]
#
#   --install      as root on Debian: install docker.io, docker-compose and debootstrap, and start dockerd if none runs
#   --from-source  build the image from the sources, which needs the image rust:1-bookworm; otherwise it is made from
#                  FOA_BIN, target/release/foa or target/debug/foa, whichever is there first
#   --keep         leave the federation running at the end
#
# Exit code: 0 it works, 1 it does not, 2 usage or surroundings are broken, 77 there is no Docker engine (SKIPPED).
# The base image is debian:bookworm-slim; where none is there and debootstrap is, it is made from Debian's packages.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
base=debian:bookworm-slim
project=foa-test-$$
install=no from_source=no keep=no
for flag in "$@"; do
    case $flag in
    --install) install=yes ;;
    --from-source) from_source=yes ;;
    --keep) keep=yes ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"; exit 0 ;;
    *) echo "unknown flag $flag; --help lists those there are" >&2; exit 2 ;;
    esac
done

say() { printf '%(%H:%M:%S)T %s\n' -1 "$*"; }
fail() { printf '\nFAILED: %s\n' "$*" >&2; exit 1; }
skip() {
    printf '\n******** SKIPPED: %s ********\n' "$*" >&2
    echo "the compose federation was NOT tested" >&2
    exit 77
}

# within SECONDS WHAT COMMAND...: repeats the command until it succeeds, or fails the test.
within() {
    local seconds=$1 what=$2 deadline=$((SECONDS + $1)) began=$SECONDS
    shift 2
    until "$@"; do
        ((SECONDS < deadline)) || fail "wanted $what within $seconds s"
        sleep 0.25
    done
    say "$what, after $((SECONDS - began)) s"
}

work=$(mktemp -d)
dockerd_pid=
up=no
finish() {
    local code=$?
    if [ $up = yes ] && { [ $code -ne 0 ] && [ $code -ne 77 ]; }; then
        compose ps || true
        compose logs --no-color --tail=40 || true
    fi
    if [ $up = yes ] && [ $keep = no ]; then
        compose --profile submit down --volumes --remove-orphans >"$work/down" 2>&1 || cat "$work/down" >&2
    fi
    if [ -n "$dockerd_pid" ] && [ $keep = no ]; then
        kill "$dockerd_pid" && wait "$dockerd_pid" || true
    fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# The engine.

if [ $install = yes ]; then
    [ "$(id -u)" = 0 ] || { echo "--install needs root" >&2; exit 2; }
    say "installing docker.io, docker-compose, debootstrap"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes docker.io docker-compose debootstrap; } \
        >"$work/apt" 2>&1 || { tail -20 "$work/apt" >&2; exit 2; }
fi
command -v docker >/dev/null || skip "there is no docker on the path; --install brings it"
if ! docker info >/dev/null 2>&1 && [ $install = yes ]; then
    say "starting dockerd"
    dockerd >"$work/dockerd" 2>&1 &
    dockerd_pid=$!
    for _ in $(seq 120); do
        docker info >/dev/null 2>&1 && break
        kill -0 "$dockerd_pid" 2>/dev/null || { tail -5 "$work/dockerd" >&2; dockerd_pid=; skip "dockerd does not start"; }
        sleep 0.25
    done
fi
docker info >/dev/null 2>&1 || skip "no Docker engine answers; --install starts one"
if docker compose version >/dev/null 2>&1; then
    composer=(docker compose)
elif command -v docker-compose >/dev/null; then
    composer=(docker-compose)
else
    skip "there is neither docker compose nor docker-compose"
fi
say "engine $(docker version --format '{{.Server.Version}}'), $("${composer[@]}" version --short)"

# The images.

export FOA_IMAGE=foa:test
if ! docker image inspect $base >/dev/null 2>&1; then
    if command -v debootstrap >/dev/null && [ "$(id -u)" = 0 ]; then
        say "making $base with debootstrap"
        debootstrap --variant=minbase bookworm "$work/base" >"$work/debootstrap" 2>&1 ||
            { tail -5 "$work/debootstrap" >&2; skip "debootstrap cannot make $base"; }
        rm -rf "$work"/base/var/cache/apt/archives/*.deb "$work"/base/var/lib/apt/lists/*
        tar -C "$work/base" -c . | docker import - $base >/dev/null
        rm -rf "$work/base"
    else
        docker pull --quiet $base || skip "there is no $base here, and none can be pulled"
    fi
fi
if [ $from_source = yes ]; then
    say "building $FOA_IMAGE from the sources"
    docker build --quiet --file "$here/Dockerfile" --tag $FOA_IMAGE "$root" || fail "the image cannot be built"
else
    binary=
    for candidate in "${FOA_BIN:-}" "$root/target/release/foa" "$root/target/debug/foa"; do
        if [ -n "$candidate" ] && [ -x "$candidate" ]; then binary=$candidate && break; fi
    done
    [ -n "$binary" ] || { echo "wanted target/release/foa, found none; cargo build --release makes it" >&2; exit 2; }
    say "making $FOA_IMAGE from $binary ($("$binary" --version))"
    mkdir -p "$work/image/models"
    install -m 0755 "$binary" "$work/image/foa"
    install -m 0755 "$here/healthcheck.sh" "$work/image/foa-health"
    # Prints a line for each file: what it is, where it is, how it came there.
    env -u FOA_MODEL_DIR -u ORT_DYLIB_PATH "$binary" model fetch >"$work/model" || exit 2
    while read -r _ path _; do install -m 0644 "$path" "$work/image/models/"; done <"$work/model"
    {
        docker build --quiet --file "$here/Dockerfile" --target base --tag foa:test-base "$work/image" &&
            docker build --quiet --file "$here/Dockerfile.prebuilt" --build-arg BASE=foa:test-base --tag $FOA_IMAGE "$work/image"
    } >"$work/build" 2>&1 || { cat "$work/build" >&2; fail "the image cannot be built"; }
fi
say "image $FOA_IMAGE: $(docker image inspect --format '{{.Size}}' $FOA_IMAGE | awk '{printf "%.0f MB", $1 / 1e6}'), of it" \
    "$(docker image inspect --format '{{.Size}}' $base | awk '{printf "%.0f MB", $1 / 1e6}') base"

# The federation.

nodes=(atlas borealis cygnus abacus)
# An empty port is any free one; nothing here needs it, but it must be on loopback.
export FOA_PORT=
compose() { "${composer[@]}" --project-name "$project" --file "$here/compose.yaml" "$@"; }
container() { compose ps --quiet "$1" | head -n 1; }
healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$(container "$1")" 2>/dev/null)" = healthy ]; }
exited() { [ "$(docker inspect --format '{{.State.Running}}' "$1")" = false ]; }
# The command line inside the federation, as the operator of atlas would use it.
foa() { docker exec "$(container atlas)" foa --config /etc/foa/foa.toml "$@"; }
# JSON on one line, to look for members in.
flat() { tr -d '\n' | sed 's/ \{2,\}/ /g'; }

up=yes
say "bringing it up"
compose up --detach --no-build >"$work/up" 2>&1 || { cat "$work/up" >&2; fail "compose up"; }
within 30 "the broker is healthy" healthy broker
for node in "${nodes[@]}"; do within 120 "$node is healthy" healthy "$node"; done
all_known() { [ "$(foa agents list --json | grep -c '"online": true')" -ge 5 ]; }
within 30 "five agents are known and online" all_known
foa agents list

port=$(docker port "$(container broker)" 1883)
[[ $port == 127.0.0.1:* && $port != *$'\n'* ]] || fail "wanted the broker on loopback alone, found $port"
for service in broker "${nodes[@]}"; do
    id=$(container "$service")
    [ "$(docker exec "$id" id -u)" = 10001 ] || fail "$service does not run as uid 10001"
    [ "$(docker inspect --format '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Privileged}}' "$id")" = "true false" ] ||
        fail "$service can write its root file system"
done
say "every container runs as uid 10001 on a read-only file system; the broker is published on $port alone"

# ask FILE [FLAG]: submits the question of compose.yaml, and leaves the answer in FILE and the whole result in FILE.json.
ask() {
    local answer=$1 job
    shift
    compose --profile submit run --rm -T "$@" submitter >"$answer" 2>"$answer.progress" ||
        { cat "$answer.progress" "$answer" >&2; fail "the submitter ended with an error"; }
    job=$(foa jobs list --json | sed -n 's/.*"job": "\(.*\)".*/\1/p' | head -n 1)
    foa jobs show "$job" --json | flat >"$answer.json"
}
# whole FILE: the answer of `ask` rests on both libraries and on the calculator.
whole() {
    grep -q '"status": "completed"' "$1.json" || fail "wanted the job completed"
    grep -q '"source": "README.md §' "$1.json" || fail "wanted a citation of a README"
    for holder in library@borealis library@cygnus; do
        grep -q "\"held_by\": \"$holder\.[a-z2-7]*\"" "$1.json" || fail "wanted evidence held by $holder"
        grep -q "held by $holder" "$1" || fail "wanted $holder named in the answer"
    done
    grep -q '"contributors": \[ { "agent": "calc@abacus' "$1.json" || fail "wanted calc@abacus among the contributors"
    grep -q '15000 milliseconds - 8000 milliseconds = 7000 milliseconds' "$1" || fail "wanted the difference, 7000"
}
say "asking the question of compose.yaml"
ask "$work/first"
sed 's/^/    /' "$work/first"
whole "$work/first"
say "answered, with passages of two nodes and a calculation"

# A worker dies in the middle of a job. It is frozen first: the coordinators believe it is there and send it work, and
# it cannot answer before it is killed.
say "freezing cygnus, and asking what only cygnus knows"
victim=$(container cygnus)
docker pause "$victim" >/dev/null
job=compose-kill-$$
foa submit --detach --job "$job" --timeout 90 \
    "When is a container of the compose federation killed after it was told to stop?" >/dev/null 2>"$work/progress" ||
    { cat "$work/progress" >&2; fail "the job was not accepted"; }
job_now() { foa jobs show "$job" --json 2>/dev/null | flat >"$work/killed"; }
asked() { job_now && grep -q 'library@cygnus\.' "$work/killed"; }
within 30 "cygnus was given work" asked
docker kill "$victim" >/dev/null
within 10 "cygnus is dead" exited "$victim"
ended() { job_now && grep -q '"ended": "' "$work/killed"; }
within 120 "the job ended without cygnus" ended
foa jobs show "$job" | sed 's/^/    /'
grep -q '"failures": \[.*{ "agent": "library@cygnus\.[^}]*"reason": "offline"' "$work/killed" ||
    fail "wanted the result to say that cygnus went offline"
gone() { foa nodes --json | flat | grep -q '"node": "cygnus\.[a-z2-7]*", "online": false'; }
within 30 "the federation says that cygnus is offline" gone

say "asking the question of compose.yaml without cygnus"
# Otherwise compose would start cygnus again, because the submitter depends on it.
ask "$work/without" --no-deps
sed -n '/^Came to nothing/,$!p' "$work/without" | sed 's/^/    /'
! grep -q '"held_by": "library@cygnus\.' "$work/without.json" || fail "wanted no evidence of a node that is dead"

say "starting cygnus again"
before=$(foa nodes --json | sed -n 's/.*"node": "\(cygnus\..*\)".*/\1/p')
docker start "$victim" >/dev/null
within 120 "cygnus is healthy" healthy cygnus
after=$(foa nodes --json | sed -n 's/.*"node": "\(cygnus\..*\)".*/\1/p')
[ "$before" = "$after" ] || fail "wanted cygnus to be itself again ($before), found $after"
within 30 "five agents are known and online" all_known
ask "$work/again"
whole "$work/again"
say "cygnus is back as itself, and the answer is whole again"

say "memory:"
docker stats --no-stream --format '    {{.Name}} {{.MemUsage}} {{.PIDs}} threads' $(compose ps --quiet) | sed "s/$project[-_]//"

if [ $keep = no ]; then
    say "stopping"
    began=$SECONDS
    compose stop >"$work/stop" 2>&1 || { cat "$work/stop" >&2; fail "compose stop"; }
    for service in broker "${nodes[@]}"; do
        code=$(docker inspect --format '{{.State.ExitCode}}' "$(compose ps --all --quiet "$service" 2>/dev/null || container "$service")")
        [ "$code" = 0 ] || fail "wanted $service to end with 0, found $code"
    done
    say "all ended with 0, in $((SECONDS - began)) s"
else
    say "left running: ${composer[*]} --project-name $project --file $here/compose.yaml down --volumes"
fi
printf '\nPASSED\n'
