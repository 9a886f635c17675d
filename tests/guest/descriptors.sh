#!/usr/bin/env bash
# The emulated modem presents the descriptors of other devices: the guest's own cdc_mbim and cdc_ncm
# bind, where Linux finds the functions of those devices, and packets pass. Then Debian's qmicli
# lifts an FCC lock through MBIM. uwwan's own driver takes no part.
# packages: libmbim-utils libmbim-proxy libqmi-utils libqmi-proxy
# guest: --cpus 1 --timeout 600
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

sets=crates/usb/tests/vectors/descriptors

# device ID: prints the directory of the USB device with these ids.
device() {
  local directory
  for directory in /sys/bus/usb/devices/*; do
    [[ -e $directory/idVendor && $(<"$directory/idVendor"):$(<"$directory/idProduct") == "$1" ]] || continue
    echo "$directory"
    return
  done
  return 1
}

# bound ID DRIVER INTERFACE: succeeds when the driver has that interface of the device.
bound() {
  local directory
  directory=$(device "$1") || return 1
  [[ $(readlink "$directory"/*:*."$3"/driver) == */"$2" ]]
}

# network ID: prints the network interface of the device.
network() {
  local directory
  directory=$(device "$1") || return 1
  basename "$(echo "$directory"/*/net/*)"
}

mbim() { timeout 20 mbimcli -d /dev/cdc-wdm0 "$@"; }

modprobe -a vhci-hcd cdc_mbim cdc_ncm option

check 'the far machine serves' start_far_side

# --- MBIM at SuperSpeed, of a Fibocom FM101 ---
check 'FM101: plugged in' start_emulator far0 --attach --far-side builtin \
  --descriptors "$sets/lsusb_2cb7_01a2_531a60_1.bin"
check 'FM101: cdc_mbim is bound' wait_for 20 bound 2cb7:01a2 cdc_mbim 0
check 'FM101: at SuperSpeed' test "$(<"$(device 2cb7:01a2)/speed")" = 5000
check 'FM101: its descriptors byte for byte' cmp "$(device 2cb7:01a2)/descriptors" "$sets/lsusb_2cb7_01a2_531a60_1.bin"
check 'FM101: the control device is there' wait_for 10 test -c /dev/cdc-wdm0
check 'FM101: it tells its capabilities' mbim --query-device-caps
judge_emulator far0

# --- MBIM in interfaces 12 and 13, of a Sierra modem ---
check 'Sierra: plugged in' start_emulator far0 --attach --far-side builtin \
  --descriptors "$sets/lsusb_1199_c081_82da32_1.bin"
check 'Sierra: cdc_mbim is bound' wait_for 20 bound 1199:c081 cdc_mbim 12
check 'Sierra: the control device is there' wait_for 10 test -c /dev/cdc-wdm0
check 'Sierra: it tells its capabilities' mbim --query-device-caps
judge_emulator far0

# --- NCM in one interface, of a Huawei E5331 ---
check 'E5331: plugged in' start_emulator far0 --attach --far-side builtin \
  --descriptors "$sets/huawei_e5331_12d1_1c1f.bin"
check 'E5331: cdc_ncm is bound' wait_for 20 bound 12d1:1c1f cdc_ncm 2
link=$(network 12d1:1c1f)
check 'E5331: the address its string gives' grep -qx 02:50:f3:00:00:01 "/sys/class/net/$link/address"
ip link set "$link" up
ip addr add "$host_address/30" dev "$link"
check 'E5331: a carrier' wait_for 10 grep -qx 1 "/sys/class/net/$link/carrier"
pings 'E5331: gateway' "$gateway"
judge_emulator far0

# --- the FCC lock ---
check 'FCC: plugged in' start_emulator far0 --attach --far-side builtin --knob fcc_lock=on \
  --descriptors "$sets/lsusb_2cb7_01a2_531a60_1.bin"
check 'FCC: the control device is there' wait_for 20 test -c /dev/cdc-wdm0
radio() { mbim "$@" | grep -q "Software radio state: 'on'"; }
check 'FCC: the radio cannot be switched on' test "$(radio --set-radio-state=on && echo on)" = ''
check 'FCC: qmicli lifts the lock' timeout 30 qmicli -d /dev/cdc-wdm0 --device-open-mbim --dms-set-fcc-authentication
check 'FCC: the radio is on' radio --set-radio-state=on
judge_emulator far0

finish
