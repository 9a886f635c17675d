#!/usr/bin/env bash
# 'uwwan up' from every state of the modem except the usual one (see up-online.sh), with each USB
# backend; while other programs interfere, over USB/IP, and with IPv6.
# packages: usbip
# guest: --cpus 1 --timeout 900
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

# comes_online NAME BEFORE: checks that 'up' gets from configuration BEFORE to online with traffic,
# and down again.
comes_online() {
  local name=$1 before=$2
  start_up --route "$far_prefix6"
  online_and_down "$name" ". == $before"
}

online_and_down() { # name, configuration at the start as a jq filter of it
  local name=$1 before=$2
  wait_online "$name: online" 60
  check "$name: the configuration before was $before" seen ".event == \"configuration\" and (.before | $before) and .after == 3"
  pings "$name: IPv4" "$far_address" -c 2
  pings "$name: IPv6" "$far_address6" -c 2
  stop_up "$name"
}

modprobe -a vhci-hcd cdc_ether cdc_mbim option tun
check 'the far machine serves' start_far_side
check 'the emulated modem is plugged in' start_emulator far0 --attach --knob ipv6=on
check 'the kernel finds it' wait_for 10 find_modem
check 'cdc_ether and option are bound' wait_for 10 drivers_are 'cdc_ether option'

for usb in libusb nusb; do
  through_zero 3
  check "$usb: 3 through 0: cdc_mbim and option are bound" wait_for 10 drivers_are 'cdc_mbim option'
  comes_online "$usb: 3 through 0" 3

  configure 2
  check "$usb: 3 directly: back in 2" wait_for 10 drivers_are 'cdc_ether option'
  configure 3
  check "$usb: 3 directly: cdc_mbim and option are bound" wait_for 10 drivers_are 'cdc_mbim option'
  comes_online "$usb: 3 directly from 2, MBIM mute" 3

  configure 1
  check "$usb: 1: option is bound" wait_for 10 drivers_are 'option'
  comes_online "$usb: 1" 1

  configure 0
  check "$usb: unconfigured: no driver is bound" test -z "$(configuration)$(drivers)"
  comes_online "$usb: unconfigured" 0
done

# Another program interferes: a script such as people run on udev events.
configure 2
check 'a meddler: back in 2' wait_for 10 drivers_are 'cdc_ether option'
start_up --route "$far_prefix6"
for round in {1..20}; do
  configure $((round % 2 + 2))
  sleep 0.1
done
check 'a meddler: it was at work before the end' test "$(times online)" = 0 -o "$(times lost)" -gt 0
online_and_down 'a meddler' '. <= 3' # whatever the meddler had chosen just then

# udev loads these modules late.
usb=libusb
modprobe -r cdc_mbim option cdc_ether
forbid_modules cdc_mbim option cdc_ether
configure 2
check 'late modules: no driver is bound' test -z "$(drivers)"
start_up --route "$far_prefix6" --settle 2
check 'late modules: up has unconfigured the modem' wait_for 10 configuration_is ''
modprobe -a cdc_mbim option
wait_online 'late modules: online, though they came while it was unconfigured' 60
modprobe cdc_ether
modprobe -r cdc_mbim && modprobe cdc_mbim
check 'late modules: one that comes later takes nothing' test "$(holder 0) $(holder 1)" = 'usbfs usbfs'
online_and_down 'late modules' '. == 2'
judge_emulator far0
check 'no NTB was lost between host and modem' test "$(counter far0 blocks_missing)" = 0

check 'the plug is pulled' wait_for 10 modem_gone
check 'USB/IP: the emulated modem listens' start_emulator far0 --listen 127.0.0.1:3240 --knob ipv6=on
check 'USB/IP: usbip lists it' grep -q '03f0:a31d' <(far usbip list -r 127.0.0.1)
check 'USB/IP: usbip attaches it' far usbip attach -r 127.0.0.1 -b 1-1
check 'USB/IP: the kernel finds it' wait_for 10 find_modem
check 'USB/IP: cdc_ether and option are bound' wait_for 10 drivers_are 'cdc_ether option'
usb=nusb
start_up --route "$far_prefix6"
wait_online 'USB/IP: online' 30
pings 'USB/IP' "$far_address"
measure 'USB/IP: iperf3 up' "$far_address"
measure 'USB/IP: iperf3 down' "$far_address" --reverse
stop_up 'USB/IP'
check 'USB/IP: usbip detaches it' far usbip detach -p 0
judge_emulator far0
check 'no NTB was lost between host and modem' test "$(counter far0 blocks_missing)" = 0
finish
