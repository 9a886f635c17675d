# shellcheck shell=bash
# Traffic between the host and the far machine, measured and compared. emulator.sh is needed; 'tun'
# names the driver's interface.

: "${logs:?}" "${far_address:?}" "${tun:=}"

# pings NAME ADDRESS [OPTION…]: checks that each of five echo requests is answered.
pings() {
  local name=$1 address=$2 said
  shift 2
  if said=$(ping -n -q -c 5 -i 0.2 -W 5 "$@" "$address" 2>&1) && [[ $said == *' 0% packet loss'* ]]; then
    ok "$name: ping (average $(sed -n 's|.*= [^/]*/\([^/]*\)/.*|\1|p' <<<"$said") ms)"
  else
    not_ok "$name: ping" "$(tail -n 2 <<<"$said" | tr '\n' ' ')"
  fi
}

# answers ADDRESS: succeeds when an echo request is answered within a second.
answers() { ping -n -q -c 1 -W 1 "$1" >/dev/null 2>&1; }

# measure NAME ADDRESS [OPTION…]: lets iperf3 move data for three seconds, or as an option says, and
# for 'patience' seconds at most.
measure() {
  local name=$1 address=$2 said rates
  shift 2
  [[ " $* " =~ ' --bytes ' ]] || set -- --time 3 "$@"
  if said=$(timeout "${patience:-60}" iperf3 --json --client "$address" --connect-timeout 20000 "$@" 2>&1) &&
    rates=$(jq -er '[.end | .sum_received, .sum_received_bidir_reverse | values | .bits_per_second / 1e6 | round]
      | if any and all(. > 0) then join(" and ") else error("nothing received") end' <<<"$said"); then
    ok "$name: $rates Mbit/s"
  else
    not_ok "$name" "$(jq -r '.error // "nothing received"' <<<"$said" 2>/dev/null || echo "${said:0:300}")"
  fi
}

# start_flow SECONDS OPTION…: runs iperf3 in the background, with its process id in 'flow' and its
# output in 'flow.json'; returns once 'tun', the driver's interface, carries the data.
start_flow() {
  timeout $(($1 + 30)) iperf3 --json --client "$far_address" --time "$1" "${@:2}" >"$logs/flow.json" 2>&1 &
  # shellcheck disable=SC2034 # the witness waits for it
  flow=$!
  wait_for 10 flowing
}

flowing() {
  local before
  before=$(tun_bytes)
  sleep 0.2 # what is measured is a rate
  (($(tun_bytes) - before > 100000))
}

tun_bytes() {
  local directory=/sys/class/net/$tun/statistics
  echo $(($(<"$directory/rx_bytes") + $(<"$directory/tx_bytes")))
}

# fetches NAME ADDRESS: checks that the far machine's file arrives whole.
fetches() {
  local wanted got
  wanted=$(sha256sum </tmp/file)
  got=$(timeout 60 socat -u "TCP:$2:9000,connect-timeout=30" STDOUT | sha256sum)
  if [[ $got == "$wanted" ]]; then
    ok "$1: 8 MiB from the far machine, same SHA-256"
  else
    not_ok "$1: 8 MiB from the far machine, same SHA-256" "$got instead of $wanted"
  fi
}

# delivers NAME ADDRESS: checks that a file arrives whole at the far machine.
delivers() {
  local wanted
  rm -f /tmp/received
  wanted=$(sha256sum </tmp/file)
  timeout 60 socat -u OPEN:/tmp/file,rdonly "TCP:$2:9001,connect-timeout=30"
  if wait_for 10 test -s /tmp/received && [[ $(</tmp/received) == "$wanted" ]]; then
    ok "$1: 8 MiB to the far machine, same SHA-256"
  else
    not_ok "$1: 8 MiB to the far machine, same SHA-256" "$(cat /tmp/received 2>&1) instead of $wanted"
  fi
}
