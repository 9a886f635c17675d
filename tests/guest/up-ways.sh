#!/usr/bin/env bash
# 'uwwan up' in each of the modem's three modes, with each USB backend: MBIM, Huawei's own NCM and
# ECM, of which the latter two are dialled by AT commands. It comes online from the configuration
# that the mode before has left, with IPv4 and IPv6, traffic in both directions, the kernel's
# segmentation offload on a TUN interface in each, the modem unplugged, and a clean end.
# guest: --cpus 1 --timeout 900
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

declare -A home=([mbim]=3 [ncm]=1 [ecm]=2)

# way MODE: runs all steps in a mode.
way() {
  local name="$usb, $1"
  start_up --mode "$1" --route "$far_prefix6"
  wait_online "$name: online" 60
  check "$name: in its configuration" wait_for 10 configuration_is "${home[$1]}"
  check "$name: a TUN interface" test -e "/sys/class/net/$(tun)/tun_flags"
  pings "$name: far machine" "$far_address"
  pings "$name: IPv6" "$far_address6" -c 2
  measure "$name: iperf3 up" "$far_address"
  measure "$name: iperf3 down" "$far_address" --reverse
  measure "$name: iperf3 over IPv6 both ways at once" "$far_address6" --bidir
  fetches "$name: download" "$far_address"
  delivers "$name: upload" "$far_address"
  check "$name: signal and operator are told" stated '.signal.rssi_dbm != null and .network.provider_id == "24201"'
  check "$name: nothing was dropped" stated '([.traffic.dropped[].count] | add // 0) == 0'
  check "$name: an AT command beside the connection" bash -c "$program at ATI | grep -q Model"
  unplug 0
  check "$name: unplugged: the loss is told" wait_for 20 lost_times 1
  wait_online "$name: unplugged: online again" 60 2
  pings "$name: unplugged: far machine" "$far_address"
  stop_up "$name: stop"
}

# story MODE…: runs one mode after the other with a backend.
story() {
  check "$usb: the emulated modem is plugged in" start_emulator far0 --attach --knob ipv6=on --knob absent_ms=500
  check "$usb: the modem is there" wait_for 10 find_modem
  for mode; do
    way "$mode"
  done
  judge_emulator far0
  check "$usb: the plug is pulled" wait_for 10 modem_gone
}

modprobe -a vhci-hcd option tun
check 'the far machine serves' start_far_side
usb=libusb
story ncm ecm mbim
usb=nusb
story mbim ecm ncm
check 'the kernel has nothing to complain about' bash -c '! dmesg | grep -E "BUG|WARNING|Oops|usbfs: .*did not claim"'
finish
