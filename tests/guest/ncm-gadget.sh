#!/usr/bin/env bash
# A plain Ethernet function: the kernel's own NCM gadget on an emulated controller, with its network
# interface in another name space. The far side of the NTBs has no code of uwwan, and f_ncm refuses
# a whole NTB for one wrong field.
# guest: --timeout 1500
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

id=0525:a4a1 ours=10.99.0.1 theirs=10.99.0.2 theirs6=fd00:99::2
host_mac=02:99:00:00:00:01 gadget_mac=02:99:00:00:00:02
gadget=/sys/kernel/config/usb_gadget/ethernet

modprobe dummy_hcd
modprobe -a libcomposite usb_f_ncm cdc_ncm tun
mountpoint -q /sys/kernel/config || mount -t configfs config /sys/kernel/config
mkdir -p "$gadget"/{strings/0x409,configs/c.1,functions/ncm.usb0}
echo 0x0525 >"$gadget/idVendor"
echo 0xa4a1 >"$gadget/idProduct"
echo 'NCM gadget' >"$gadget/strings/0x409/product"
echo "$host_mac" >"$gadget/functions/ncm.usb0/host_addr"
echo "$gadget_mac" >"$gadget/functions/ncm.usb0/dev_addr"

# Each round begins with fresh state: f_ncm (Linux 6.1) keeps an NTB that was open when the host
# left and never starts its timer again. It is then mute until the NTB is full, and overruns its NDP
# if the format has changed meanwhile.
plug() {
  rm -f "$gadget/configs/c.1/ncm.usb0"
  ln -s "$gadget/functions/ncm.usb0" "$gadget/configs/c.1/"
  echo dummy_udc.0 >"$gadget/UDC"
}
unplug() { echo >"$gadget/UDC"; }
# For the same reason the gadget has nothing to send while the host's driver changes.
hush() { far ip link set "$far_interface" down; }
speak() {
  far ip link set "$far_interface" up
  far ip addr replace "$theirs6/64" dev "$far_interface" nodad
}
has_driver() { [[ $("$program" list --json | jq -r '.[0].kernel_drivers[0].driver') == "$1" ]]; }

plug
far_interface=$(<"$gadget/functions/ncm.usb0/ifname")
ip netns add far
ip link set "$far_interface" netns far
far ip link set lo up
far ip addr add "$theirs/24" dev "$far_interface"
far iperf3 --server --daemon

check 'the kernel has taken the gadget first' wait_for 20 has_driver cdc_ncm
"$program" list --json >"$logs/list.json"
check 'list: a network device, not a modem, ready' jq -e \
  'length == 1 and (.[0] | .kind == "ethernet" and .ready and .configuration == {active: 1, wanted: 1})' \
  "$logs/list.json"
refused 'a network device that was not named is left alone' 3 'no modem is present' --wait=false
refused 'a session is nothing for it' 2 'not a modem' --device "$id" --apn internet

# status FILTER: succeeds when the state of 'up' makes the jq filter true.
status() { "$program" status --json | tee "$logs/status.json" | jq -e "$1" >/dev/null; }

carrier() { ip -json link show dev "$(tun)" | jq -e "any(.[].flags[]; . == \"LOWER_UP\") == $1" >/dev/null; }

# Starts 'up' with some options, and checks that it uses what they ask for.
begin() { # name, format, option…
  local name=$1 format=$2
  shift 2
  launch_up --device "$id" --address "$ours/24" --address fd00:99::1/64 --ntb "$format" "$@"
  wait_online "$name: online" 60 || finish
  check "$name: no link yet" wait_for 20 status '.ethernet.link == false and .online'
  check "$name: no carrier yet" wait_for 10 carrier false
  speak
  check "$name: the link is up" wait_for 20 status '.ethernet | .link == true and .downlink_bits > 0'
  check "$name: so is the interface" wait_for 10 carrier true
  check "$name: NTB$format, frames of 1514 bytes" status \
    ".framing.format == \"$format\" and .ethernet.frame_size == 1514"
}

both_ways() { # name, iperf3's options
  local name=$1
  shift
  measure "$name: to the gadget" "$theirs" "$@"
  measure "$name: from the gadget" "$theirs" --reverse "$@"
}

# No part has dropped anything or found a fault in an NTB.
flawless() { # name
  check "$1: nothing dropped here" status '.traffic | .dropped == [] and .errors == []'
  far ip -json -statistics link show dev "$far_interface" >"$logs/gadget.json"
  check "$1: no receive error in the gadget" jq -e \
    '.[0].stats64.rx | .errors == 0 and .dropped == 0 and .over_errors == 0' "$logs/gadget.json"
  check "$1: no complaint of the gadget" bash -c \
    '! dmesg | grep -iE "wrong nth|wrong ndp|bad (ndp|index|dgram|crc)|ncm.*(wrong|bad|invalid)|usb0: rx"'
}

end() { # name
  local interface
  interface=$(tun)
  hush
  stop_up "$1"
  check "$1: no interface is left" bash -c "! ip link show dev '$interface'"
}

# The gadget is plugged in anew, and the kernel's driver binds to it.
again() {
  unplug
  plug
  check 'the kernel has the gadget' wait_for 20 has_driver cdc_ncm
}

name='libusb, NTB16'
begin "$name" 16
check "$name: the kernel's driver was detached" seen '.event == "notice" and (.text | contains("from cdc_ncm"))'
check "$name: the host has the address the gadget gives" \
  bash -c "ip link show dev '$(tun)' | grep -q 'link/ether $host_mac'"
pings "$name" "$theirs"
pings "$name, IPv6" "$theirs6"
pings "$name, longest packets" "$theirs" -s 1472 -M 'do'
patience=600 both_ways "$name: 512 MiB" --bytes 512M
check "$name: 1 GiB in one run" status \
  '.traffic | .uplink.bytes > 536870912 and .downlink.bytes > 536870912'
flawless "$name"

hush
check 'link down: told' wait_for 20 status '.ethernet.link == false and .online'
check 'link down: no carrier' wait_for 10 carrier false
speak
check 'link up again: told' wait_for 20 status '.ethernet.link'
check 'link up again: carrier' wait_for 10 carrier true
pings 'link up again' "$theirs"

interface=$(tun)
unplug
check 'unplugged: noticed' wait_for 30 lost_times 1
check 'unplugged: the interface stays, without carrier' carrier false
hush
plug
wait_online 'plugged in again: online' 60 2
speak
check 'plugged in again: the same interface' [ "$interface" = "$(tun)" ]
check 'plugged in again: carrier' wait_for 10 carrier true
pings 'plugged in again' "$theirs"
end "$name"
check 'the kernel gets the gadget back' wait_for 20 has_driver cdc_ncm

again
name='libusb, NTB32'
begin "$name" 32
pings "$name" "$theirs"
both_ways "$name"
flawless "$name"
end "$name"

# An ordinary user has the device and an interface that root has prepared.
again
name='nusb, NTB16, NDP at the end, ordinary user'
as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
export UWWAN_RUNTIME_DIR=/tmp/runtime
install -d -o 65534 -g 65534 "$UWWAN_RUNTIME_DIR"
install -m 0755 "$program" /tmp/uwwan # where an ordinary user may look
program=/tmp/uwwan
chmod 666 "$(lsusb -d "$id" | sed 's|^Bus \(...\) Device \(...\).*|/dev/bus/usb/\1/\2|')"
ip tuntap add dev lan0 mode tap user 65534
ip addr add "$ours/24" dev lan0
ip link set lan0 up
begin "$name" 16 --usb nusb --ndp end --tun-name lan0
pings "$name" "$theirs"
both_ways "$name"
flawless "$name"
stop_up "$name"
check "$name: the interface is as root made it" \
  bash -c "ip link show dev lan0 | grep -q 'NO-CARRIER' && ! ip link show dev lan0 | grep -q '$host_mac'"

check 'the kernel has nothing to complain about' \
  bash -c '! dmesg | grep -E "BUG|WARNING|Oops|usbfs: .*did not claim"'
finish
