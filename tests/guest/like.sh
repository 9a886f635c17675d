#!/usr/bin/env bash
# A modem that was captured is emulated: tcpdump records on usbmon how the guest's own cdc_mbim and
# mbimcli use the emulated modem, as people do for a bug report, and with --like the emulator is the
# modem in that file, for 'uwwan up' and for the kernel's driver, mbimcli and ModemManager. In the
# scrubbed file tshark finds the same exchange.
# packages: libmbim-utils libmbim-proxy tcpdump tshark dbus modemmanager polkitd
# guest: --cpus 1 --timeout 1200
# shellcheck disable=SC2317 # 'check' calls the functions
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

story=$logs/kernel.pcap
# These knobs are set for the first modem, and not for the second one.
own=(--knob ndp_place=front --knob ntb_remainder=2 --knob ntb_max_datagrams=16 --knob ntb_in_max=32768
  --knob ipv4_address=100.64.7.9 --knob ipv4_gateway=100.64.7.10 --knob firmware_info=LAB_01.02)

modem_path='' manager=''

listens() { grep -q 'listening on' "$logs/tcpdump.log"; }

tcpdump_ended() { ! kill -INT "$tcpdump"; }

# by_mbimcli NAME: the kernel's driver and mbimcli bring the modem online.
by_mbimcli() {
  through_zero 3
  check "$1: a control device" wait_for 20 test -c /dev/cdc-wdm0 || return 1
  udevadm settle
  local said
  said=$(timeout 60 mbimcli -d /dev/cdc-wdm0 --no-close --query-device-caps 2>&1)
  check "$1: the firmware's version" grep -q 'LAB_01.02' <<<"$said"
  local trid
  trid=$(sed -n "s/.*TRID: '\([0-9]*\)'.*/\1/p" <<<"$said" | tail -n 1)
  said=$(timeout 60 mbimcli -d /dev/cdc-wdm0 --no-open="$trid" --no-close --connect=apn=internet,ip-type=ipv4 2>&1)
  check "$1: connected" grep -q "IP \[0\]: '100.64.7.9/30'" <<<"$said"
  local wwan
  wwan=$(modem_interface)
  check "$1: the largest NTB" grep -qx 32768 "/sys/class/net/$wwan/cdc_ncm/dwNtbInMaxSize"
  ip addr add 100.64.7.9/30 dev "$wwan"
  ip link set "$wwan" up
  ip route add "$far_prefix" via 100.64.7.10 dev "$wwan"
  pings "$1: far machine" "$far_address"
  ip link set "$wwan" down
}

# read_by_tshark FILTER FIELD: prints the field of the packets of the scrubbed capture.
read_by_tshark() { tshark -r "$clean" -o tcp.desegment_tcp_streams:FALSE -Y "$1" -T fields -e "$2" 2>>"$logs/tshark.log"; }

sound() { [[ -z $(read_by_tshark '_ws.malformed || _ws.expert.group == "Malformed"' frame.number) ]]; }

# by_modemmanager NAME: the kernel's drivers and ModemManager bring the modem online.
by_modemmanager() {
  through_zero 3
  wait_for 20 test -c /dev/cdc-wdm0
  udevadm settle
  check "$1: ModemManager starts" manage
  check "$1: ModemManager offers it" wait_for 120 offered
  check "$1: ModemManager can use it" wait_for 120 in_state 'disabled|enabled|registered|connected'
  check "$1: ModemManager enables it" mmcli -m "$modem_path" --timeout 120 --enable
  check "$1: ModemManager finds it registered" wait_for 60 in_state 'registered|connected'
  check "$1: ModemManager connects" mmcli -m "$modem_path" --timeout 120 --simple-connect=apn=internet,ip-type=ipv4
  local wwan
  wwan=$(modem_interface)
  ip addr add 100.64.7.9/30 dev "$wwan"
  ip link set "$wwan" up
  ip route add "$far_prefix" via 100.64.7.10 dev "$wwan"
  pings "$1: far machine by ModemManager" "$far_address"
  ip link set "$wwan" down
  kill "$manager" && wait "$manager"
}

manage() {
  start_modemmanager "$logs/modemmanager.log"
  manager=$!
}

offered() { modem_path=$(mmcli -L | grep -o '/org/freedesktop/ModemManager1/Modem/[0-9]*') && [[ $modem_path ]]; }

in_state() { mmcli -m "$modem_path" -J | jq -e ".modem.generic.state | test(\"$1\")"; }

modprobe -a vhci-hcd usbmon cdc_ether cdc_mbim option tun
ip netns add far
tcpdump -i usbmon0 -Z root -s 0 -U -w "$story" 2>"$logs/tcpdump.log" &
tcpdump=$!
check 'tcpdump records' wait_for 20 listens
check 'the first modem is plugged in' start_emulator far0 --attach --far-side builtin "${own[@]}"
check 'the first modem: the kernel finds it' wait_for 20 find_modem
check 'the first modem: configuration 2' wait_for 20 configuration_is 2
wait_for 20 drivers_are 'cdc_ether option'
by_mbimcli 'the first modem'
# A signal that comes just before tcpdump waits for a transfer wakes nobody, so it is sent until one has.
wait_for 20 tcpdump_ended
wait "$tcpdump"
check 'the first modem ends' stop_emulator far0
check 'the first modem is gone' wait_for 20 modem_gone

clean=$logs/clean.pcapng
check 'the capture is scrubbed' "$program" capture scrub "$story" "$clean"
read_by_tshark mbim.control.header.message_type _ws.col.Info >"$logs/messages"
for name in OPEN_MSG OPEN_DONE 'DEVICE_CAPS (Query)' 'CONNECT (Set)'; do
  check "scrubbed: tshark reads $name" grep -qF "$name" "$logs/messages"
done
check 'scrubbed: IP inside' grep -q . <<<"$(read_by_tshark 'mbim && icmp' frame.number)"
check 'scrubbed: nothing is malformed' sound
check 'scrubbed: the address is gone' test -z "$(read_by_tshark 'ip.addr == 100.64.7.9' frame.number)"

check 'the modem of the capture is plugged in' start_emulator far1 --attach --far-side builtin --like "$story"
check 'what was found in the capture is told' grep -q 'like 03f0:a31d: answers to' "$logs/far1.log"
check 'like: the kernel finds it' wait_for 20 find_modem
check 'like: configuration 2' wait_for 20 configuration_is 2
# shellcheck disable=SC2119 # without further options
start_up
wait_online 'like: up is online' 60 && {
  check 'like: the captured address' stated '[.. | strings] | any(startswith("100.64.7.9"))'
  pings 'like: far machine by up' "$far_address"
}
stop_up 'like'
by_mbimcli 'like'
by_modemmanager 'like'
judge_emulator far1
finish
