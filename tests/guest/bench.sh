#!/usr/bin/env bash
# 'uwwan bench' with a modem on USB and an iperf3 server beyond it: through an 'up' of its own for
# each setting, and through one that is running. Servers that do not serve are reported.
# guest: --timeout 900
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

said=$logs/bench.json

# measured CONTENDER…: every contender has figures, all of them positive.
measured() {
  local contender
  for contender; do
    jq -e --arg contender "$contender" '.failures == [] and
      ([.metrics[] | .group as $group | .rows[] | select(.contender == $contender) | {($group): .median}] | add
        | (keys | contains(["Throughput", "Round trip", "Processor time of the driver", "Resident memory", "NTBs"]))
        and all(.[]; . > 0))' "$said" >/dev/null || {
      tail -n 3 "$logs/bench.words"
      return 1
    }
  done
}

bench() { timeout 200 "$program" bench --json --seconds 1 --rounds 1 "$@" >"$said" 2>"$logs/bench.words"; }

# told STATUS WORDS OPTION…: 'uwwan bench' fails with that status and those words.
told() {
  local status=$1 words=$2 result=0
  shift 2
  bench "$@" || result=$?
  if ((result != status)) || ! grep -q -- "$words" "$logs/bench.words"; then
    echo "status $result: $(tail -n 4 "$logs/bench.words")"
    return 1
  fi
}

not_running() {
  local result=0
  "$program" status || result=$?
  ((result == 3))
}

modprobe -a vhci-hcd cdc_ether cdc_mbim option tun
check 'the far machine serves' start_far_side
# This server takes connections and never sends anything.
far socat TCP-LISTEN:5999,fork,reuseaddr EXEC:'sleep 600' &
check 'the emulated modem is plugged in' start_emulator far0 --attach --knob ipv6=on
check 'the kernel finds it' wait_for 20 find_modem

check 'bench: an up of its own for each of two settings' \
  bench --server "$far_address" --block-size 4096,16384 --test down,up,ping -- --apn internet
check 'bench: figures of both' measured 'block-size 4096' 'block-size 16384'
check 'bench: no up is left behind' not_running
check 'bench: no such modem' told 3 'no modem is 9-9' --server "$far_address" --device 9-9

start_up
wait_online 'an up that stays' 60
# iperf3 answers UDP from the address that routing chooses, which is the gateway's.
check 'bench: small packets' bench --server "$gateway" --test small-up,small-down
check 'bench: through the up that runs' bench --server "$far_address" --test down,up,ping,ping-down,ping-up
check 'bench: its figures' measured uwwan
check 'bench: a running up keeps its options' told 6 'stay as they are' --server "$far_address" --ndp end
check 'bench: nobody listens there' told 8 'does not serve' --server "$far_address:5998"
check 'bench: a server that says nothing' told 8 'keeps silent' --server "$far_address:5999"
check 'bench: the up still runs' running
stop_up 'the up that stayed'
judge_emulator far0
finish
