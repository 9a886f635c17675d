#!/usr/bin/env bash
# The emulated modem works like the real one: the guest's own drivers and tools (cdc_ether, option,
# cdc_mbim, mbimcli) use it as owners of the real one report. uwwan's own driver takes no part.
# packages: libmbim-utils libmbim-proxy
# guest: --cpus 1 --timeout 900
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

# --- mbimcli, with one control session over several calls, as its options intend ---
transaction=''
mbim() { # patience in seconds, option…
  local patience=$1 said result=0
  shift
  said=$(timeout "$patience" mbimcli -d /dev/cdc-wdm0 ${transaction:+--no-open="$transaction"} --no-close "$@" 2>&1) || result=$?
  transaction=$(sed -n "s/.*TRID: '\([0-9]*\)'.*/\1/p" <<<"$said" | tail -n 1)
  echo "$said" >>"$logs/mbimcli.log"
  answer=$said
  return "$result"
}

mbim_close() {
  timeout 20 mbimcli -d /dev/cdc-wdm0 ${transaction:+--no-open="$transaction"} --noop >>"$logs/mbimcli.log" 2>&1
  local result=$?
  transaction=''
  return "$result"
}

# tells NAME TEXT OPTION…: mbimcli succeeds, and each line of TEXT is in its answer.
tells() {
  local name=$1 text=$2 part
  shift 2
  mbim 20 "$@" || {
    not_ok "$name" "mbimcli $*: $(tail -n 2 <<<"$answer" | tr '\n' ' ')"
    return 1
  }
  while read -r part; do
    grep -qiE -- "$part" <<<"$answer" || {
      not_ok "$name" "'$part' is not in: ${answer//$'\n'/ }"
      return 1
    }
  done <<<"$text"
  ok "$name"
}

says() { # name, command, line expected
  local said
  said=$(at "$2")
  if grep -qxF -- "$3" <<<"$said"; then
    ok "$1: $2 says $3"
  else
    not_ok "$1: $2 says $3" "it says: ${said//$'\n'/ | }"
  fi
}

modprobe -a vhci-hcd cdc_ether cdc_mbim option
check 'the far machine serves' start_far_side
check 'the emulated modem is plugged in' start_emulator far0 --attach
check 'the kernel finds it' wait_for 10 find_modem

# --- configuration 2 ---
check 'the kernel chooses configuration 2' wait_for 10 configuration_is 2
check 'cdc_ether and option are bound' wait_for 10 drivers_are 'cdc_ether option'
check 'an Ethernet interface' wait_for 10 modem_interface
udevadm settle # it may be renamed
check 'its hardware address is the constant of the firmware' grep -qx 02:1e:10:1f:00:00 "/sys/class/net/$(modem_interface)/address"
ip link set "$(modem_interface)" up
check 'it has no carrier' test "$(<"/sys/class/net/$(modem_interface)/carrier")" = 0
check 'five serial ports' wait_for 10 test -c /dev/ttyUSB4
exec {tty}<>/dev/ttyUSB2
stty raw -echo <&"$tty"
says 'AT' AT OK
says 'AT' 'AT^IPV6CAP?' '^IPV6CAP: 1'
says 'AT' 'AT^IPV6CAP=?' '^IPV6CAP: (1,2,7)'
says 'AT' 'AT+CPIN?' '+CPIN: READY'
says 'AT' ATI 'Model: ME906s-158'
exec {tty}>&-

# --- 2 to 3: mute ---
configure 3
check '2 to 3: cdc_mbim and option are bound' wait_for 10 drivers_are 'cdc_mbim option'
check '2 to 3: the control device is there' wait_for 10 test -c /dev/cdc-wdm0
udevadm settle
check '2 to 3: NTB parameters were negotiated' test "$(<"/sys/class/net/$(modem_interface)/cdc_ncm/rx_max")" = 16384
result=0
mbim 8 --query-device-caps || result=$?
transaction=''
# The exit status 124 means that 'timeout' had to end it. A later check shows that the command
# itself works.
check '2 to 3: MBIM_OPEN stays without an answer for 8 s' test "$result" = 124

# --- 2 to 0 to 3: alive ---
configure 2
check '2 to 0 to 3: back in 2' wait_for 10 drivers_are 'cdc_ether option'
through_zero 3
check '2 to 0 to 3: cdc_mbim and option are bound' wait_for 10 drivers_are 'cdc_mbim option'
check '2 to 0 to 3: the control device is there' wait_for 10 test -c /dev/cdc-wdm0
udevadm settle
wwan=$(modem_interface)
check 'the kernel places the NDP at the end for this id' grep -qx Y "/sys/class/net/$wwan/cdc_ncm/ndp_to_end"

tells 'device caps' "Firmware info: '11\.617\.
Hardware info: 'ML1ME906SM'
Cellular class: 'gsm'
SIM class: 'removable'" --query-device-caps
tells 'subscriber ready' "Ready state: 'initialized'" --query-subscriber-ready-status
tells 'PIN' 'PIN' --query-pin-state
tells 'radio' "Hardware radio state: 'on'
Software radio state: 'on'" --query-radio-state
tells 'registration' "Register state: 'home'
Provider ID: '24201'" --query-registration-state
tells 'packet service' "Packet service state: 'attached'" --attach-packet-service
tells 'signal' 'RSSI' --query-signal-state
tells 'device services' 'basic-connect' --query-device-services
tells 'home provider' '24201' --query-home-provider

mbim 20 --connect='apn=internet,ip-type=ipv6'
check 'IPv6 alone is refused with NoDeviceSupport' grep -qi 'NoDeviceSupport' <<<"$answer"
tells 'connect with IPv4 and IPv6' "Activation state: 'activated'" --connect='apn=internet,ip-type=ipv4v6'
tells 'IP configuration' "IP \[0\]: '$host_address/30'
Gateway: '$gateway'
MTU: '1500'" --query-ip-configuration
check 'it has no IPv6 address' test "${answer/2a02:/}" = "$answer"
ip addr add "$(sed -n "s/.*IP \[0\]: '\(.*\)'.*/\1/p" <<<"$answer" | head -n 1)" dev "$wwan"
ip link set "$wwan" up
ip route add "$far_prefix" via "$gateway" dev "$wwan"

pings 'cdc_mbim: gateway' "$gateway"
pings 'cdc_mbim: whole packets' "$gateway" -s 1472 -M 'do'
measure 'cdc_mbim: iperf3 up' "$far_address"
measure 'cdc_mbim: iperf3 down' "$far_address" --reverse
fetches 'cdc_mbim' "$far_address"
delivers 'cdc_mbim' "$far_address"

echo N >"/sys/class/net/$wwan/cdc_ncm/ndp_to_end"
check 'ndp_to_end off: nothing comes back' test "$(ping -n -q -c 3 -i 0.2 -W 1 "$gateway" | grep -c ' 0 received')" = 1
echo Y >"/sys/class/net/$wwan/cdc_ncm/ndp_to_end"
check 'ndp_to_end on: traffic flows again' wait_for 5 answers "$gateway"
pings 'ndp_to_end on' "$gateway"

tells 'disconnect' "Activation state: 'deactivated'" --disconnect
check 'disconnected: nothing comes back' test "$(answers "$gateway"; echo $?)" != 0
check 'MBIM closes' mbim_close
dropped=$(<"/sys/class/net/$wwan/statistics/tx_dropped")
judge_emulator far0
check 'the black hole was the firmware' test "$(counter far0 black_holed)" -ge 3
check "what is missing in the sequence of NTBs, the kernel says it dropped ($dropped)" test "$(counter far0 blocks_missing)" = "$dropped"
finish
