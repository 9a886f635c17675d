#!/usr/bin/env bash
# Other programs on the control session of a running 'uwwan up': Debian's
# mbimcli through the mbim-proxy name, the real mbim-proxy and mbimcli on the
# terminal, all while traffic flows. A client killed and the modem unplugged in
# the middle of a command. The data session outlives it all.
# packages: libmbim-utils libmbim-proxy
# guest: --cpus 1 --timeout 900
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

# mbim OPTION…: runs mbimcli through the proxy. Its output is in 'answer'. It waits at least ten
# seconds for the modem, so what takes less was an answer.
answer=''
mbim() {
  local result=0
  answer=$(timeout 60 mbimcli -p -d "$socket" "$@" 2>&1) || result=$?
  printf '%s: %s\n%s\n' "$*" "$result" "$answer" >>"$logs/mbimcli.log"
  return "$result"
}

# These are all of mbimcli's questions that take no argument. The modem may have no answer, but then
# it is the modem that says so.
questions() {
  mbimcli --help-all | grep -oE -- '--([a-z0-9]+-)*query(-[a-z0-9]+)*' | sort -u |
    grep -vxE -- '--(ms-query-uicc-(file-status|read-.*)|ms-query-version)' |
    sed 's/^--ms-query-slot-info-status$/&=0/'
}

unanswered=() answered=0 known=0
ask_everything() {
  local question started
  while read -r question; do
    started=$SECONDS
    if mbim "$question"; then
      known=$((known + 1))
    elif ! grep -qE 'operation failed: (NoDeviceSupport|InvalidDeviceServiceOperation)' <<<"$answer"; then
      unanswered+=("$question: ${answer//$'\n'/ }")
      continue
    fi
    ((SECONDS - started < 10)) || unanswered+=("$question: after $((SECONDS - started)) s")
    answered=$((answered + 1))
  done < <(questions)
}

tells() { # name, extended regular expression, option…
  local name=$1 text=$2
  shift 2
  if mbim "$@" && grep -qE -- "$text" <<<"$answer"; then
    ok "$name"
  else
    not_ok "$name" "${answer//$'\n'/ }"
  fi
}

refuses() { # name, option…
  local name=$1
  shift
  if ! mbim "$@" && grep -q 'operation failed: OperationNotAllowed' <<<"$answer"; then
    ok "$name"
  else
    not_ok "$name" "${answer//$'\n'/ }"
  fi
}

flow_went_on() { # name
  wait "$flow"
  # A second without a byte may be the fault of the machine; three in a row would be that of the
  # program.
  if jq -e '.error == null and ([.intervals[].sum.bytes] as $b | [range(0; ($b | length) - 2) | $b[.:. + 3] | add] | min) > 0' \
    "$logs/flow.json" >/dev/null; then
    ok "$1 ($(jq '.end.sum_received.bits_per_second / 1e6 | round' "$logs/flow.json") Mbit/s)"
  else
    not_ok "$1" "$(jq -c '.error // [.intervals[].sum.bytes]' "$logs/flow.json" 2>&1 | head -c 500)"
  fi
}

# overhear: records what passes on the modem's bus from here on, until asked_modem.
overhear() {
  cat "/sys/kernel/debug/usb/usbmon/$(<"$modem/busnum")u" >"$logs/overheard" &
  listener=$!
}

# asked_modem NAME: checks that a control message has gone to the modem.
asked_modem() {
  check "$1" wait_for 10 grep -q ' s 21 00 ' "$logs/overheard"
  { kill "$listener" && wait "$listener"; } 2>/dev/null
}

clients() { "$program" status --json | jq .proxy.clients; }

clients_are() { [[ $(clients) == "$1" ]]; }

modprobe -a vhci-hcd usbmon cdc_ether cdc_mbim option tun
check 'the far machine serves' start_far_side
# A CONNECT takes a while, so that something can happen before its answer.
check 'the emulated modem is plugged in' start_emulator far0 --attach --knob connect_ms=6000
check 'cdc_ether and option are bound' wait_for 10 eval 'find_modem && drivers_are "cdc_ether option"'
start_up
wait_online 'online' 40
tun=$(tun)
index=$(<"/sys/class/net/$tun/ifindex")
socket=$("$program" status --json | jq -r .proxy.socket)
terminal=$("$program" status --json | jq -r .proxy.terminal)
check 'status tells the socket, the name and the terminal' test -S "$socket" -a -c "$terminal" \
  -a "$("$program" status --json | jq -r .proxy.public)" = mbim-proxy

check 'data flows' start_flow 30
ask_everything
if ((${#unanswered[@]})); then
  not_ok 'mbimcli asks everything it can' "${#unanswered[@]} of $((answered + ${#unanswered[@]})): ${unanswered[*]:0:3}"
else
  ok "mbimcli asks everything it can ($answered questions, $known known to this modem)"
fi
check 'it can ask much, and the modem knows most of the basics' test "$answered" -ge 35 -a "$known" -ge 14
tells 'the driver'"'"'s session is there' "Activation state: 'activated'" --query-connection-state=0
tells 'its addresses are the driver'"'"'s' "$host_address/30" --query-ip-configuration
tells 'a second session' "Activation state: 'activated'" --connect=session-id=3,access-string=internet
tells 'it is there for the next client' "Activation state: 'activated'" --query-connection-state=3
tells 'and ends' 'Successfully disconnected' --disconnect=3
refuses 'not the driver'"'"'s session: disconnect' --disconnect=0
refuses 'not the driver'"'"'s session: connect' --connect=session-id=0,access-string=internet
refuses 'not the radio' --set-radio-state=off
refuses 'not the packet service' --detach-packet-service
tells 'what is so already may be asked for' "Software radio state: 'on'" --set-radio-state=on
flow_went_on 'the data never stopped'

# Two clients run at once, again and again.
pids=() failed=0
for round in {1..10}; do
  timeout 30 mbimcli -p -d "$socket" --query-device-caps >"$logs/caps-$round" 2>&1 &
  pids+=($!)
  timeout 30 mbimcli -p -d "$socket" --query-signal-state >"$logs/signal-$round" 2>&1 &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || failed=$((failed + 1)); done
check 'two clients at once, ten times: all are served' test "$failed" = 0
check 'and each with its own answer' test \
  "$(grep -l "Firmware info: '11.617." "$logs"/caps-* | wc -l) $(grep -l RSSI "$logs"/signal-* | wc -l)" = '10 10'

# A client is killed in the middle of a command.
overhear
mbimcli -p -d "$socket" --connect=session-id=3,access-string=internet >"$logs/killed" 2>&1 &
victim=$!
check 'killed: it is there' wait_for 10 clients_are 1
asked_modem 'killed: its command is with the modem'
kill -KILL "$victim"
{ wait "$victim"; } 2>/dev/null
check 'killed: its place is free' wait_for 5 clients_are 0
tells 'killed: the next client is served' "Register state: 'home'" --query-registration-state
pings 'killed: the data session is up' "$far_address"

# The terminal serves mbimcli like a device, and Debian's mbim-proxy in place of uwwan's own.
check 'terminal: mbimcli' timeout 30 mbimcli -d "$terminal" --query-home-provider
check 'terminal: mbimcli again' timeout 30 mbimcli -d "$terminal" --query-device-services
check 'terminal: uwwan'"'"'s own commands beside it' "$program" status

# The modem is unplugged in the middle of a command.
overhear
timeout 60 mbimcli -p -d "$socket" --connect=session-id=3,access-string=internet >"$logs/unplugged" 2>&1 &
waiting=$!
check 'unplugged: it is there' wait_for 10 clients_are 1
asked_modem 'unplugged: its command is with the modem'
started=$SECONDS
unplug 0
result=0
wait "$waiting" || result=$?
took=$((SECONDS - started))
if ((result != 0 && result != 124)) && grep -q NotOpened "$logs/unplugged"; then
  ok "unplugged: the client is told after $took s ($(tail -n 1 "$logs/unplugged"))"
else
  not_ok 'unplugged: the client is told' "status $result after $took s: $(tail -n 2 "$logs/unplugged" | tr '\n' ' ')"
fi
wait_online 'unplugged: online again' 60 2
check 'unplugged: the TUN interface was kept' test "$(<"/sys/class/net/$tun/ifindex")" = "$index"
tells 'unplugged: clients are served again' "Firmware info: '11\.617\." --query-device-caps
check 'unplugged: data flows again' wait_for 10 answers "$far_address"
pings 'unplugged: the data session is up' "$far_address"

# Another user is known by the credentials that the kernel passes.
as_nobody() { setpriv --reuid=nobody --regid=nogroup --clear-groups timeout 20 "$@"; }
hung_up_on() { # they get no byte, whatever they send
  [[ $(printf 'anything' | as_nobody socat -t 5 - ABSTRACT-CONNECT:mbim-proxy 2>/dev/null | wc -c) == 0 ]] && clients_are 0
}
check 'another user is hung up on' hung_up_on
check 'another user cannot look into the runtime directory' test "$(as_nobody ls "$(dirname "$socket")" 2>&1 >/dev/null | grep -c denied)" = 1

stop_up 'stop'
check 'stop: nothing is left in the runtime directory' test ! -e "$(dirname "$socket")"
check 'stop: the name is free' test "$(grep -c '@mbim-proxy' /proc/net/unix)" = 0

start_up --proxy-allow user:nobody --proxy-guard off
wait_online 'allowed: online' 40
check 'allowed: another user is served' as_nobody mbimcli -p -d "$socket" --query-device-caps
check 'allowed: through the socket itself, too' as_nobody "$program" signal --device "$(port)"
tells 'without the guard: the session may be ended' 'Successfully disconnected' --disconnect=0
check 'without the guard: the driver notices' wait_for 20 lost_times 1
wait_online 'without the guard: and brings it up again' 40 2
stop_up 'allowed'

# Neither guests, operators nor strangers harm the SIM or end the session, whatever they send.
as_daemon() { setpriv --reuid=daemon --regid=daemon --clear-groups timeout 20 "$@"; }
as_stranger() { setpriv --reuid=games --regid=games --clear-groups timeout 20 "$@"; }
# all_refused USER OPTION…: each mbimcli command of the user is refused by the proxy.
all_refused() {
  local user=$1 option said
  shift
  for option in "$@"; do
    said=$("as_$user" mbimcli -p -d "$socket" "$option" 2>&1)
    grep -q 'operation failed: OperationNotAllowed' <<<"$said" || {
      echo "$user $option: $said"
      return 1
    }
  done
}
unharmed() { # name
  check "$1: three attempts remain" grep -q '3 attempts remaining' <("$program" info)
  check "$1: the session was never lost" stated '.online and .attempts == 1'
}
attack=(--disable-pin=0000 --disable-pin=0000 --disable-pin=0000 '--change-pin=0000,1111'
  --enable-pin=0000 --enter-pin=0000 '--enter-puk=00000000,1111' '--enter-puk=00000000,1111')
printf '1234\n' >/tmp/pin
chmod 600 /tmp/pin
launch_up --device emulator --knob pin=1234 --pin-file /tmp/pin \
  --proxy-allow user:nobody --operator user:daemon
wait_online 'attack: online with a PIN' 40
socket=$("$program" status --json | jq -r .proxy.socket)
check 'attack: a guest is served' as_nobody mbimcli -p -d "$socket" --query-device-caps
check 'attack: no guest touches the PIN' all_refused nobody "${attack[@]}"
check 'attack: no guest ends the session' all_refused nobody --disconnect=0 --set-radio-state=off --detach-packet-service
unharmed 'attack: a guest'
check 'attack: an operator sees the SIM'"'"'s identity' grep -q 'IMSI' <(as_daemon "$program" info --show-personal)
check 'attack: an operator uses the AT port' as_daemon "$program" at AT+CSQ
check 'attack: no operator touches the PIN' all_refused daemon "${attack[@]}"
check 'attack: nor by AT' fails_with 5 as_daemon "$program" at <<<AT+CPIN=0000
check 'attack: nor resets the modem' fails_with 5 as_daemon "$program" at --force AT^RESET
check 'attack: nor stops it' fails_with 5 as_daemon "$program" down
unharmed 'attack: an operator'
check 'attack: everyone may look' as_stranger "$program" status
check 'attack: what the modem is they are told' grep -q '11\.617' <(as_stranger "$program" info)
identity() { as_stranger "$program" info --show-personal --json | jq -re '.imei // "", .sim.imsi // "", .sim.iccid // ""' | tr -d '\n'; }
check 'attack: but at nobody'"'"'s identity' test -z "$(identity)"
check 'attack: a stranger has no AT port' fails_with 5 as_stranger "$program" at AT+CSQ
check 'attack: nor stops it, and is told who may' grep -q 'root' <(as_stranger "$program" down 2>&1)
unharmed 'attack: a stranger'
# The owner's own attempts count, but the last is not made without force.
mbim --disable-pin=0000
mbim --disable-pin=0000
refuses 'attack: the owner keeps the last attempt' --disable-pin=0000
check 'attack: and the session' stated '.online and .attempts == 1'
stop_up 'attack'

# Another program has the name.
/usr/libexec/mbim-proxy --no-exit >"$logs/mbim-proxy.log" 2>&1 &
other=$!
check 'another proxy: it has the name' wait_for 10 grep -q '@mbim-proxy' /proc/net/unix
start_up
wait_online 'another proxy: online' 40
check 'another proxy: it is told once' test "$(jq -s '[.[] | select(.event == "notice" and (.text | contains("is the mbim-proxy here")))] | length' "$events")" = 1
check 'another proxy: mbimcli on the terminal' timeout 30 mbimcli -d "$terminal" --query-device-caps
check 'another proxy: and through it, on the terminal' timeout 30 mbimcli -p -d "$terminal" --query-device-caps
stop_up 'another proxy'
kill "$other"
judge_emulator far0
finish
