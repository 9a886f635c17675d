#!/usr/bin/env bash
# The unlocking of IPv6, with uwwan's own commands: IPv6 is refused, 'uwwan ipv6' says why, unlocks
# it under a running 'uwwan up', and locks it again. Meanwhile several programs share the AT port:
# 'uwwan at', socat and cat.
# guest: --cpus 1 --timeout 600
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

# found FILTER: the jq filter is true of 'uwwan ipv6 status'.
found() { "$program" ipv6 status --json >"$logs/findings" && jq -e "$1" "$logs/findings"; }

# asked WORDS COMMAND…: 'uwwan at COMMAND…' prints exactly that.
asked() {
  local said
  said=$("$program" at "${@:2}")
  echo "it says: $said"
  [[ $said == "$1" ]]
}

# stated FILTER: the jq filter is true of 'uwwan status'.
stated() { "$program" status --json >"$logs/status" && jq -e "$1" "$logs/status"; }

shows_the_plan() {
  "$program" ipv6 enable --show >"$logs/plan"
  grep -F 'AT^PLMNLIST=1,"99999","24201"' "$logs/plan"
}

moved_on() { [[ $(readlink "$terminal") != "$before" ]]; }

nothing_to_do() { "$program" ipv6 enable --yes | grep 'nothing to do'; }

has_address6() { ip -6 addr show dev "$tun" | grep -q "inet6 $1/64"; }

has_default6() { ip -6 route show default | grep -q "dev $tun"; }

# typed TEXT EXPECTED: a program that opens the terminal gets exactly its answer, and perhaps the
# signal report, which the modem sends unsolicited.
typed() {
  local said
  said=$(printf '%s\r' "$1" | timeout 10 socat -t 2 - "$terminal,raw,echo=0" |
    tr -d '\r' | grep -v -e '^$' -e '^\^HCSQ:')
  [[ $said == "$2" ]] || {
    echo "it says: $said"
    return 1
  }
}

option_ports_are() { (($(compgen -G '/dev/ttyUSB*' | wc -l) == $1)); }

plugged_in() { find_modem && drivers_are 'cdc_ether option'; }

modprobe -a vhci-hcd cdc_ether cdc_mbim option tun
check 'the far machine serves' start_far_side
check 'the emulated modem is plugged in' start_emulator far0 --attach --knob absent_ms=3000
check 'cdc_ether and option are bound' wait_for 10 plugged_in
check 'five serial ports' wait_for 10 test -c /dev/ttyUSB4

# --- without a running driver ---
check 'alone: uwwan at answers in configuration 2' asked '^IPV6CAP: 1' 'AT^IPV6CAP?'
check 'alone: the configuration was left as it was' configuration_is 2
udevadm settle
check 'alone: option has all its ports back' option_ports_are 5
check 'alone: uwwan ipv6 status knows that it is locked' found \
  '.findings | .verdict == "locked" and .capability == 1 and .operator.code == "24201" and .profile == "00000"'
"$program" ipv6 status >"$logs/words"
check 'alone: and says what would unlock it' grep -q 'uwwan ipv6 enable' "$logs/words"
check 'alone: --show shows the change' shows_the_plan
check 'alone: and makes none' asked '^PLMNLIST: "99999",24491,24001,23820' 'AT^PLMNLIST="99999"'
check 'alone: without a terminal it does not act unasked' fails_with 2 "$program" ipv6 enable

# --- IPv6 alone is refused, both families give IPv4 alone ---
refused 'locked: up --ip-type ipv6 is refused, and told what unlocks it' 7 $'no_device_support\nuwwan ipv6 enable' \
  --apn internet --ip-type ipv6
start_up --ip-type ipv4v6 --route "$far_prefix6" --route "$name_server6"
wait_online 'locked: online' 30
check 'locked: with IPv4 alone' seen '.event == "addresses" and .ipv4 != null and .ipv6 == null'
check 'locked: and told what unlocks IPv6' seen '.event == "notice" and (.text | contains("uwwan ipv6 enable"))'
pings 'locked' "$far_address"
tun=$(tun)
index=$(<"/sys/class/net/$tun/ifindex")

# --- the AT port of the running up ---
terminal=/run/uwwan/$(port)/at
check 'shared: the kernel has no port left' wait_for 5 option_ports_are 0
check 'shared: a terminal stands in the runtime directory' test -c "$terminal"
check 'shared: uwwan at goes through it' asked $'^IPV6CAP: 1\n+CSQ: 21,99' 'AT^IPV6CAP?' 'AT+CSQ'
check 'shared: a refusal is the exit status' fails_with 7 "$program" at AT+NONSENSE
check 'shared: socat talks on the terminal' typed 'AT^IPV6CAP?' $'AT^IPV6CAP?\n^IPV6CAP: 1\nOK'
for n in 1 2 3 4; do
  # Two programs that open in the same instant would get the same terminal.
  before=$(readlink "$terminal")
  for _ in 1 2 3 4 5; do printf 'AT+CGMM;+CSQ\r'; done |
    timeout 20 socat -t 3 - "$terminal,raw,echo=0" | grep -c 'ME906s-158' >"$logs/opener-$n" &
  openers[n]=$!
  check "shared: opener $n has a terminal of its own" wait_for 10 moved_on
done
check 'shared: uwwan at beside four others' asked $'^IPV6CAP: 1' 'AT^IPV6CAP?'
wait "${openers[@]}"
check 'shared: each of four openers has its five answers' test "$(cat "$logs"/opener-{1,2,3,4} | xargs)" = '5 5 5 5'
before=$(readlink "$terminal")
cat "$terminal" >"$logs/listener" &
listener=$!
check 'shared: the next opener gets another terminal' wait_for 10 moved_on
echo 'AT^PLMNLIST="99999"' >"$terminal"
check 'shared: cat hears what echo asked' wait_for 10 grep -q '^\^PLMNLIST: "99999",24491,24001,23820' "$logs/listener"
kill "$listener"
pings 'shared: traffic flows beside it' "$far_address"

# --- unlocked ---
check 'enable: done' "$program" ipv6 enable --yes
check 'enable: the loss was told' lost_times 1
wait_online 'enable: online again' 60 2
check 'enable: both families, with the addresses of the post' stated \
  '.online and .addresses.ipv4.address == "'"$host_address"'" and .addresses.ipv6 == {address: "'"$host_address6"'", prefix: 64}
    and .addresses.gateway6 == null and (.addresses.dns6 | index("'"$name_server6"'") != null)'
check 'enable: the TUN interface was kept' test "$(<"/sys/class/net/$tun/ifindex")" = "$index"
check 'enable: it has the address' has_address6 "$host_address6"
check 'enable: status says so' found '.findings.verdict == "works" and .findings.capability == 7 and .findings.kinds == ["IP", "IPV6", "IPV4V6"]'
check 'enable: once more is nothing' nothing_to_do
pings 'enable: IPv4' "$far_address"
pings 'enable: IPv6' "$far_address6"
pings 'enable: the name server of the network' "$name_server6"
measure 'enable: iperf3 over IPv6 up' "$far_address6"
measure 'enable: iperf3 over IPv6 down' "$far_address6" --reverse
fetches 'enable: over IPv6' "[$far_address6]"
delivers 'enable: over IPv6' "[$far_address6]"

# --- locked again ---
check 'disable: done' "$program" ipv6 disable --yes
wait_online 'disable: online again' 60 3
check 'disable: IPv4 alone' stated '.online and .addresses.ipv4 != null and .addresses.ipv6 == null'
check 'disable: the list is that of the factory' asked '^PLMNLIST: "99999",24491,24001,23820' 'AT^PLMNLIST="99999"'
pings 'disable' "$far_address"
stop_up 'stop'
check 'stop: terminal and socket are gone' test ! -e "$terminal" -a ! -e "$terminal.socket"

# --- without up ---
check 'alone: enable' "$program" ipv6 enable --yes
# The modem was plugged in anew meanwhile, so the drivers are those of its active configuration.
check "alone: the kernel's drivers have the modem again" \
  wait_for 10 eval 'drivers_are "cdc_ether option" || drivers_are "cdc_mbim option"'
start_up --ip-type ipv6 --route "$far_prefix6"
wait_online 'IPv6 alone: online' 30
pings 'IPv6 alone' "$far_address6"
stop_up 'IPv6 alone: stop'
judge_emulator far0
check 'the firmware has been reset three times' test "$(counter far0 resets)" = 3

# --- by router advertisement ---
check 'a modem on a network with router advertisements' start_emulator far1 --attach --knob ipv6=on --knob ipv6_link_local=on
check 'it is there' wait_for 10 plugged_in
routes=default start_up
wait_online 'advertised: online' 30
tun=$(tun)
check 'advertised: a global address' wait_for 20 has_address6 "$host_address6"
check 'advertised: a default route' wait_for 5 has_default6
pings 'advertised: IPv6' "$far_address6"
stop_up 'advertised: stop'
judge_emulator far1
finish
