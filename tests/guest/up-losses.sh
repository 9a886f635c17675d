#!/usr/bin/env bash
# The modem leaves under a running 'uwwan up' and comes back: it is unplugged under traffic, and its
# firmware resets. The TUN interface and the flows through it stay.
# guest: --timeout 900
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

flow_ends() { # name
  wait "$flow"
  if jq -e '.end.sum_received.bytes > 0 and (.error == null) and ([.intervals[-2:][].sum.bytes] | add) > 0' "$logs/flow.json" >/dev/null; then
    ok "$1: the TCP connection from before goes on"
  else
    not_ok "$1: the TCP connection from before goes on" \
      "$(jq -c '.error // [.intervals[].sum.bytes]' "$logs/flow.json" 2>&1 | head -c 500)"
  fi
}

# lost_and_found NAME TIMES: checks that the modem was lost, is online for the TIMES-th time, and
# that interface and addresses are the same.
lost_and_found() {
  local name=$1 wanted=$2
  check "$name: the loss is told" wait_for 20 lost_times $((wanted - 1))
  wait_online "$name: online again" 60 "$wanted"
  check "$name: the TUN interface was kept" test "$(tun) $(<"/sys/class/net/$tun/ifindex")" = "$tun $index"
  check "$name: its address was kept" grep -q "inet $host_address/30" <(ip addr show dev "$tun")
  check "$name: its route was kept" test -n "$(ip route show "$far_prefix" dev "$tun")"
  flow_ends "$name"
  pings "$name" "$far_address"
}

modprobe -a vhci-hcd cdc_ether cdc_mbim option tun
check 'the far machine serves' start_far_side
check 'the emulated modem is plugged in' start_emulator far0 --attach --knob absent_ms=3000
check 'cdc_ether and option are bound' wait_for 10 eval 'find_modem && drivers_are "cdc_ether option"'
start_up
wait_online 'online' 30
tun=$(tun)
index=$(<"/sys/class/net/$tun/ifindex")

# The flow must outlive all of this, which is long enough for the sender's retransmission timer,
# which doubles while nothing gets through.
check 'unplugged: data flows before' start_flow 30
unplug 0
lost_and_found 'unplugged' 2

check 'reset: data flows before' start_flow 30 --reverse
check 'reset: AT^RESET is taken' "$program" at --force 'AT^RESET'
lost_and_found 'reset' 3

stop_up 'stop'
check 'stop: the interface is gone' test ! -e "/sys/class/net/$tun"
judge_emulator far0
check 'the firmware has been reset once' test "$(counter far0 resets)" = 1
finish
