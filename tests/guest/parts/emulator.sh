# shellcheck shell=bash
# The emulated modem on the guest's virtual host controller, and the machine behind it, which is a
# network name space of its own, so that packets which reach it have crossed USB. The witnesses
# source this file after tools/witness.sh.

program=${UWWAN_PROGRAM:?names the program to try}
logs=${UWWAN_LOGS:-/tmp/logs}
mkdir -p "$logs"

# These are the addresses that the emulated network gives to the host.
export host_address=10.169.198.77 gateway=10.169.198.78 name_server=193.213.112.4
export host_address6=2a02:2121:2c4:7105:5a2c:80ff:fe13:9208 name_server6=2001:4600:4:fff::52
# These are the far machine's own addresses. No link of the host has them in its subnet, so only
# routes lead there.
export far_address=198.51.100.1 far_prefix=198.51.100.0/24
export far_address6=2001:db8:100::1 far_prefix6=2001:db8:100::/64

far() { nsenter --net=/run/netns/far "$@"; }

# The far machine has addresses, and servers for iperf3 and for files.
start_far_side() {
  ip netns add far
  far ip link set lo up
  local address
  for address in "$far_address/32" "$name_server/32" "$far_address6/128" "$name_server6/128"; do
    far ip addr add "$address" dev lo
  done
  far iperf3 --server --daemon
  head -c 8M /dev/urandom >/tmp/file
  # The listener is first, so that each connection opens the file and reads it from its beginning.
  far socat -U TCP6-LISTEN:9000,fork,reuseaddr,ipv6-v6only=0 OPEN:/tmp/file,rdonly &
  far socat -u TCP6-LISTEN:9001,fork,reuseaddr,ipv6-v6only=0 \
    SYSTEM:'sha256sum >/tmp/received.new; mv /tmp/received.new /tmp/received' &
  wait_for 10 far_listens
}

far_listens() {
  local listening port
  listening=$(far ss -Hltn)
  for port in 5201 9000 9001; do
    [[ $listening == *":$port "* ]] || return 1
  done
}

# start_emulator NAME OPTION…: runs 'uwwan emulate OPTION…' on the far machine, whose TUN interface
# NAME is behind it unless an option says otherwise. Its control socket is in /run/far, apart from
# those of the guest's own programs. NAME.log has its output, NAME.json its report once it has been
# stopped.
declare -A emulators=()
start_emulator() {
  local name=$1 far_side=(--far-side "tun:$1")
  shift
  [[ " $* " != *' --far-side '* ]] || far_side=()
  rm -f "$logs/$name.json"
  # The command does not run through 'far', because the process must be the program itself, for
  # signals.
  nsenter --net=/run/netns/far "$program" emulate "${far_side[@]}" --runtime-dir /run/far --report "$logs/$name.json" "$@" \
    >"$logs/$name.log" 2>&1 &
  emulators[$name]=$!
  wait_for 60 grep -qE '^(plugged into|listening)' "$logs/$name.log" || {
    cat "$logs/$name.log"
    return 1
  }
}

# stop_emulator NAME: unplugs the modem and waits for the report.
stop_emulator() {
  local pid=${emulators[$1]}
  unset "emulators[$1]"
  kill -TERM "$pid" && wait "$pid"
}

# counter NAME COUNTER: prints a counter of the report of a stopped emulator.
counter() { jq -er ".counters.$2" "$logs/$1.json"; }

# judge_emulator NAME: stops the emulator; the check is ok if the host has broken no rule.
judge_emulator() {
  local name=$1 broken
  check "$name: the emulator ends cleanly" stop_emulator "$name" || return 1
  # 'jq -e' fails on an empty or missing report too.
  if ! broken=$(jq -er '.violations_by_rule | add // 0' "$logs/$name.json"); then
    not_ok "$name: no rule of USB, NCM and MBIM broken" "no report: $(tail -n 3 "$logs/$name.log" | tr '\n' ' ')"
  elif ((broken)); then
    not_ok "$name: no rule of USB, NCM and MBIM broken" \
      "$broken times: $(jq -r '[.violations[] | .rule + ": " + .what] | unique | .[:5] | join("; ")' "$logs/$name.json")"
  else
    ok "$name: no rule of USB, NCM and MBIM broken ($(counter "$name" blocks_out) NTBs out, $(counter "$name" blocks_in) in, $(counter "$name" messages_out) messages)"
  fi
}
