#!/usr/bin/env bash
# Debian's ModemManager, on the guest's own drivers, finds of the emulated modem what T. Anderson
# reported of the real one (2018-12). IPv6 alone is refused by the device, both families give IPv4
# alone; after AT^PLMNLIST and AT^RESET through option's port, and a switch over configuration 0,
# both families come with the addresses of the report. uwwan's own driver takes no part.
# packages: dbus modemmanager polkitd libmbim-utils libmbim-proxy
# guest: --cpus 1 --timeout 600
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

manager=''

manage() { # log file
  start_modemmanager "$1"
  manager=$!
}

unmanage() { kill "$manager" && wait "$manager"; }

plugged_in() { find_modem && drivers_are 'cdc_ether option'; }

# offered: succeeds once ModemManager offers a modem, whose D-Bus path is then in 'modem_path'.
offered() { modem_path=$(mmcli -L | grep -o '/org/freedesktop/ModemManager1/Modem/[0-9]*') && [[ $modem_path ]]; }

# usable: succeeds when the modem is enabled or can be.
usable() { mmcli -m "$modem_path" -J | jq -e '.modem.generic.state | test("disabled|enabled|registered|connected")'; }

enabled() { mmcli -m "$modem_path" -J | jq -e '.modem.generic.state | test("registered|connected")'; }

# to_mbim: switches over configuration 0, as the udev rule of the report does.
to_mbim() {
  through_zero 3
  wait_for 10 drivers_are 'cdc_mbim option' && wait_for 10 test -c /dev/cdc-wdm0
}

# connects FAMILY: connects with 'mmcli --simple-connect', whose output is in 'said'.
connects() { said=$(mmcli -m "$modem_path" --timeout 120 --simple-connect="apn=telenor.smart,ip-type=$1" 2>&1) || {
  echo "$said"
  return 1
}; }

# bears FILTER: succeeds when the jq filter is true of the connected bearer.
bears() {
  local bearer
  for bearer in $(mmcli -m "$modem_path" -J | jq -r '.modem.generic.bearers[]'); do
    mmcli -b "$bearer" -J >"$logs/bearer.json"
    jq -e '.bearer.status.connected == "yes"' "$logs/bearer.json" >/dev/null || continue
    jq -c .bearer "$logs/bearer.json"
    jq -e ".bearer | $1" "$logs/bearer.json"
    return
  done
  echo 'no bearer is connected'
  return 1
}

with_both_drivers() { mmcli -m "$modem_path" -J | jq -e '.modem.generic.drivers | contains(["cdc_mbim", "option"])'; }

says() { # command, line expected
  local said
  said=$(at "$1")
  if grep -qxF -- "$2" <<<"$said"; then
    ok "$1 says $2"
  else
    not_ok "$1 says $2" "it says: ${said//$'\n'/ | }"
  fi
}

open_tty() {
  exec {tty}<>/dev/ttyUSB0
  stty raw -echo <&"$tty"
}

modprobe -a vhci-hcd cdc_ether cdc_mbim option
check 'the far machine serves' start_far_side
check 'the emulated modem is plugged in' start_emulator far0 --attach
check 'cdc_ether and option are bound' wait_for 10 plugged_in
check 'configuration 3, over 0' to_mbim
udevadm settle

# --- locked ---
check 'ModemManager starts' manage "$logs/modemmanager-1.log"
check 'it offers the modem' wait_for 90 offered
check 'it can be used' wait_for 60 usable
check 'its drivers are cdc_mbim and option' with_both_drivers
check 'it is enabled' mmcli -m "$modem_path" --timeout 120 --enable
check 'it is registered' wait_for 60 enabled
if connects ipv6 >"$logs/refusal"; then
  not_ok 'locked: IPv6 alone is refused' 'it connects'
else
  check 'locked: IPv6 alone is refused with NoDeviceSupport' grep -qiE 'NoDeviceSupport|device.*(not|un).*support' <<<"$said"
fi
check 'locked: both families connect' connects ipv4v6
check 'locked: with IPv4 alone' bears '."ipv4-config".address == "'"$host_address"'" and ((."ipv6-config".address // "") | contains(":") | not)'
check 'disconnected' mmcli -m "$modem_path" --timeout 60 --simple-disconnect
check 'ModemManager stops' unmanage

# --- the unlocking of the report ---
check "option's port" wait_for 10 test -c /dev/ttyUSB0
open_tty
says 'AT^IPV6CAP?' '^IPV6CAP: 1'
says 'AT^PLMNLIST=1,"99999","24201"' OK
says 'AT^PLMNLIST="99999"' '^PLMNLIST: "99999",24491,24001,23820,24201'
says 'AT^RESET' OK
exec {tty}>&-
check 'it leaves' wait_for 10 modem_gone
check 'it comes back in configuration 2' wait_for 20 plugged_in
check 'configuration 3, over 0, again' to_mbim
udevadm settle
check "option's port again" wait_for 10 test -c /dev/ttyUSB0
open_tty
says 'AT^IPV6CAP?' '^IPV6CAP: 7'
says 'AT+CGDCONT=?' '+CGDCONT: (0-11),"IPV4V6",,,(0-2),(0-3),(0,1),(0,1),(0-2),(0,1)'
exec {tty}>&-

# --- unlocked ---
check 'ModemManager starts again' manage "$logs/modemmanager-2.log"
check 'unlocked: it offers the modem' wait_for 90 offered
check 'unlocked: it can be used' wait_for 60 usable
check 'unlocked: it is enabled' mmcli -m "$modem_path" --timeout 120 --enable
check 'unlocked: it is registered' wait_for 60 enabled
check 'unlocked: both families connect' connects ipv4v6
check 'unlocked: with the IPv4 address of the post' bears \
  '."ipv4-config" | .address == "'"$host_address"'" and .prefix == "30" and .gateway == "'"$gateway"'" and (.dns | index("'"$name_server"'") != null)'
check 'unlocked: with the IPv6 address of the post, and a gateway of zeros' bears \
  '."ipv6-config" | .address == "'"$host_address6"'" and .prefix == "64" and .gateway == "::" and (.dns | index("'"$name_server6"'") != null)'

wwan=$(modem_interface)
ip link set "$wwan" up
ip addr add "$host_address/30" dev "$wwan"
ip -6 addr add "$host_address6/64" dev "$wwan" nodad
ip route add "$far_prefix" via "$gateway" dev "$wwan"
ip -6 route add "$far_prefix6" dev "$wwan"
pings 'unlocked: IPv4' "$far_address"
pings 'unlocked: IPv6' "$far_address6"
check 'disconnected again' mmcli -m "$modem_path" --timeout 60 --simple-disconnect
check 'ModemManager stops again' unmanage
judge_emulator far0
check 'the firmware has been reset once' test "$(counter far0 resets)" = 1
finish
