#!/usr/bin/env bash
# The udev rule as packaged: udev takes it without complaint, gives both brands
# of the modem to the group and nothing else, and somebody of that group who is
# not root reaches the modem.
# guest: --cpus 1 --timeout 900
# shellcheck disable=SC2317 # 'check' calls the functions
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

rule=$(dirname "$0")/../../packaging/70-uwwan.rules

# of ID: the directory of the device with this vendor and product.
of() {
  local file
  for file in /sys/bus/usb/devices/*/idProduct; do
    [[ $(<"${file%/*}/idVendor"):$(<"$file") == "$1" ]] || continue
    modem=${file%/*}
    return
  done
  return 1
}

# is GROUP MODE: who has the device node.
is() { [[ $(stat -c '%G %a' "$(node)") == "$1 $2" ]]; }

has() { udevadm info -q property -p "$modem" | grep -qx "$1"; }

hidden_from_modemmanager() { has ID_MM_DEVICE_IGNORE=1; }

tagged() { udevadm info -q property -p "$modem" | grep -q '^CURRENT_TAGS=.*:uaccess:'; }

# udev reads the rule, decides by it, and has nothing to say against it.
taken_without_complaint() {
  udevadm test --action=add "$modem" >"$logs/udev.log" 2>&1
  grep -E '70-uwwan.rules:[0-9]+ (GROUP|MODE) ' "$logs/udev.log" || return 1
  ! grep -E '70-uwwan.*(nvalid|nknown|gnor)' "$logs/udev.log"
}

somebody() { setpriv --reuid=65534 --regid=plugdev --clear-groups "$@"; }

check 'the rule is installed' install -D -m 644 "$rule" /etc/udev/rules.d/70-uwwan.rules
check 'udev reads it' udevadm control --reload
modprobe vhci_hcd
check 'the far machine is up' start_far_side
check 'the emulated modem is plugged in' start_emulator far0 --attach
check 'it is an lt4132' wait_for 10 of 03f0:a31d
check "the group has the HP's node" wait_for 20 is plugdev 660
check 'the seat has it, too' tagged
check 'ModemManager is told to leave it' hidden_from_modemmanager
check 'udev takes the rule without complaint' taken_without_complaint
check 'somebody of the group reads all its descriptors' somebody "$program" usb descriptors --device 03f0:a31d
check 'and talks AT with it' somebody "$program" at --device 03f0:a31d AT+CSQ
judge_emulator far0
check 'one of the other brand is plugged in' start_emulator far1 --attach --knob brand=huawei
check 'it is an ME906s' wait_for 10 of 12d1:15c1
check "the group has the Huawei's node" wait_for 20 is plugdev 660
check 'ModemManager is told to leave it' hidden_from_modemmanager
check 'a root hub is there' of 1d6b:0002
check 'only root may write to it' is root 664
check 'and not hidden from anybody' bash -c "! udevadm info -q property -p '$modem' | grep ID_MM_DEVICE_IGNORE"
modem=''
judge_emulator far1
finish
