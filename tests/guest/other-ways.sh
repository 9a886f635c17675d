#!/usr/bin/env bash
# The modem's other two modes with other drivers: the kernel's huawei_cdc_ncm (given the id) in
# configuration 1 and cdc_ether in configuration 2, dialled with AT^NDISDUP by hand, with busybox's
# DHCP client and the kernel's own IPv6; then ModemManager's Huawei plugin on the Huawei-branded
# unit. uwwan's own driver takes no part.
# packages: dbus modemmanager polkitd busybox-static
# guest: --cpus 1 --timeout 900
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

says() { # name, command, line expected
  local said
  said=$(at "$2")
  if grep -qxF -- "$3" <<<"$said"; then
    ok "$1: $2 says $3"
  else
    not_ok "$1: $2 says $3" "it says: ${said//$'\n'/ | }"
  fi
}

# This script is called by busybox's DHCP client. It sets the address and a route to the far
# machine, and keeps what the server said.
cat >/tmp/lease <<'SCRIPT'
#!/bin/sh
case $1 in
  bound | renew)
    ip addr replace "$ip/$mask" dev "$interface"
    ip route replace "$far_prefix" via $router dev "$interface"
    echo "$ip/$mask $router $dns" >/tmp/leased
    ;;
  deconfig) ip -4 addr flush dev "$interface" ;;
esac
SCRIPT
chmod +x /tmp/lease

leases() { # interface
  rm -f /tmp/leased
  busybox udhcpc -f -q -n -t 5 -T 2 -i "$1" -s /tmp/lease && [[ $(</tmp/leased) == "$host_address/30 $gateway $name_server"* ]]
}

has_ipv6() { ip -6 -json addr show dev "$1" scope global | jq -e 'any(.[].addr_info[]; .local | startswith("2a02:2121:2c4:7105:"))'; }

carrier_is() { [[ $(<"/sys/class/net/$1/carrier") == "$2" ]]; }

# dialled NAME INTERFACE: checks that a dialled mode works.
dialled() {
  local name=$1 interface=$2
  check "$name: DHCP" leases "$interface"
  pings "$name: gateway" "$gateway"
  pings "$name: the far machine" "$far_address"
  pings "$name: whole packets" "$far_address" -s 1472 -M 'do'
  pings "$name: frames of 512 bytes" "$far_address" -s 470
  check "$name: a prefix by router advertisement" wait_for 20 has_ipv6 "$interface"
  pings "$name: IPv6" "$far_address6"
  measure "$name: iperf3 up" "$far_address"
  measure "$name: iperf3 down" "$far_address" --reverse
  fetches "$name" "$far_address"
  delivers "$name" "$far_address"
}

modprobe -a vhci-hcd cdc_ether cdc_mbim option huawei_cdc_ncm
check 'the far machine serves' start_far_side
check 'the emulated modem is plugged in' start_emulator far0 --attach --knob ipv6=on
check 'the kernel finds it' wait_for 10 find_modem
check 'configuration 2: cdc_ether and option' wait_for 10 drivers_are 'cdc_ether option'

# --- configuration 2: ECM ---
check 'ECM: an interface' wait_for 10 modem_interface
udevadm settle # it may be renamed
ether=$(modem_interface)
ip link set "$ether" up
check 'ECM: no carrier' wait_for 10 carrier_is "$ether" 0
check 'ECM: the PCUI port' wait_for 10 test -c /dev/ttyUSB2
exec {tty}<>/dev/ttyUSB2
stty raw -echo <&"$tty"
says ECM 'AT+CGDCONT=1,"IPV4V6","telenor.smart"' OK
says ECM 'AT^NDISSTATQRY?' '^NDISSTATQRY: 0,,,"IPV4",0,,,"IPV6"'
says ECM 'AT^NDISDUP=1,1,"telenor.smart"' OK
check 'ECM: carrier' wait_for 10 carrier_is "$ether" 1
says ECM 'AT^NDISSTATQRY?' '^NDISSTATQRY: 1,,,"IPV4",1,,,"IPV6"'
dialled ECM "$ether"
says ECM 'AT^NDISDUP=1,0' OK
check 'ECM: no carrier after the call' wait_for 10 carrier_is "$ether" 0
exec {tty}>&-

# --- configuration 1: Huawei's own NCM ---
through_zero 1
check 'NCM: option has the serial ports' wait_for 10 drivers_are option
echo '03f0 a31d ff 12d1 0' >/sys/bus/usb/drivers/huawei_cdc_ncm/new_id
check 'NCM: huawei_cdc_ncm has the rest' wait_for 10 drivers_are 'huawei_cdc_ncm option'
check 'NCM: it is at interface 3' test "$(holder 3)" = huawei_cdc_ncm
check 'NCM: an interface' wait_for 10 modem_interface
check 'NCM: the control device is there' wait_for 10 test -c /dev/cdc-wdm0
udevadm settle
wwan=$(modem_interface)
check 'NCM: alternate setting 1' test "$(alternate 3)" = 1
check 'NCM: the kernel places the NDP at the end' grep -qx Y "/sys/class/net/$wwan/cdc_ncm/ndp_to_end"
ip link set "$wwan" up
# The shell would read further than a line here, because the device accepts a seek.
socat PTY,link=/tmp/wdm,raw,echo=0 OPEN:/dev/cdc-wdm0,rdwr &
relay=$!
check 'NCM: encapsulated commands by a terminal' wait_for 10 test -c /tmp/wdm
exec {tty}<>/tmp/wdm
says NCM AT OK
says NCM 'AT+CPIN?' '+CPIN: READY'
says NCM 'AT+CGDCONT=1,"IPV4V6","telenor.smart"' OK
says NCM 'AT^NDISDUP=1,1,"telenor.smart"' OK
says NCM 'AT^NDISSTATQRY?' '^NDISSTATQRY: 1,,,"IPV4",1,,,"IPV6"'
dialled NCM "$wwan"
says NCM 'AT^NDISDUP=1,0' OK
check 'NCM: nothing comes back after the call' test "$(answers "$gateway"; echo $?)" != 0
exec {tty}>&-
kill "$relay"
echo '03f0 a31d' >/sys/bus/usb/drivers/huawei_cdc_ncm/remove_id
judge_emulator far0

# --- ModemManager's Huawei plugin, configuration 2 of the Huawei-branded unit ---
modem_product=15c1
check 'the Huawei-branded unit is plugged in' start_emulator far0 --attach --knob brand=huawei
check 'MM: the kernel finds it' wait_for 30 find_modem
check 'MM: configuration 2' wait_for 30 drivers_are 'cdc_ether option'
udevadm settle
check 'MM: ModemManager starts' start_modemmanager "$logs/modemmanager.log"

offered() { modem_path=$(mmcli -L | grep -o '/org/freedesktop/ModemManager1/Modem/[0-9]*') && [[ $modem_path ]]; }
modem_says() { mmcli -m "$modem_path" -J | tee "$logs/modem.json" | jq -e "$1"; }
# connected: succeeds when the bearer, whose path is in 'bearer', is connected.
connected() {
  bearer=$(mmcli -m "$modem_path" -J | jq -r '.modem.generic.bearers[0]')
  mmcli -b "$bearer" -J >"$logs/bearer.json"
  jq -e '.bearer.status.connected == "yes"' "$logs/bearer.json"
}
bears() { jq -e ".bearer | $1" "$logs/bearer.json"; }

check 'MM: it offers the modem' wait_for 90 offered
check 'MM: by its Huawei plugin' modem_says '.modem.generic.plugin == "huawei"'
check 'MM: it can be used' wait_for 60 modem_says '.modem.generic.state | test("disabled|enabled|registered|connected")'
check 'MM: enabled' mmcli -m "$modem_path" --timeout 120 --enable
check 'MM: registered' wait_for 60 modem_says '.modem.generic.state | test("registered|connected")'
check 'MM: connects' mmcli -m "$modem_path" --timeout 120 --simple-connect='apn=telenor.smart'
check 'MM: a bearer' connected
ether=$(modem_interface)
check 'MM: over the Ethernet interface' bears ".status.interface == \"$ether\""
ip link set "$ether" up
check 'MM: carrier' wait_for 10 carrier_is "$ether" 1
if bears '."ipv4-config".method == "static"' >/dev/null; then
  check 'MM: the address of ^DHCP' bears "\"ipv4-config\" as \$k | .[\$k] | .address == \"$host_address\" and .gateway == \"$gateway\""
  ip addr add "$host_address/30" dev "$ether"
  ip route add "$far_prefix" via "$gateway" dev "$ether"
else
  check 'MM: DHCP' leases "$ether"
fi
pings MM "$far_address"
measure 'MM: iperf3 down' "$far_address" --reverse
check 'MM: disconnects' mmcli -m "$modem_path" --timeout 60 --simple-disconnect
check 'MM: no carrier after the call' wait_for 10 carrier_is "$ether" 0
judge_emulator far0
check 'the kernel has nothing to complain about' bash -c '! dmesg | grep -E "BUG|WARNING|Oops"'
finish
