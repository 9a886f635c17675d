#!/usr/bin/env bash
# The ways that the README gives to people who are not root. udev accepts the packaged rule without
# complaint and gives both brands of the modem to the group and nothing else, and a member of that
# group who is not root reaches the modem. Capabilities on the program's file work for a group, and
# are refused when everybody may run it.
# guest: --cpus 1 --timeout 900
# shellcheck disable=SC2317 # 'check' calls the functions
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

rule=$(dirname "$0")/../../packaging/70-uwwan.rules

# of ID: prints the directory of the device with this vendor and product.
of() {
  local file
  for file in /sys/bus/usb/devices/*/idProduct; do
    [[ $(<"${file%/*}/idVendor"):$(<"$file") == "$1" ]] || continue
    modem=${file%/*}
    return
  done
  return 1
}

# is GROUP MODE: succeeds when the device node has this group and mode.
is() { [[ $(stat -c '%G %a' "$(node)") == "$1 $2" ]]; }

has() { udevadm info -q property -p "$modem" | grep -qx "$1"; }

not_hidden_from_modemmanager() { ! has ID_MM_DEVICE_IGNORE=1; }

tagged() { udevadm info -q property -p "$modem" | grep -q '^CURRENT_TAGS=.*:uaccess:'; }

# udev reads the rule, applies it, and reports no fault in it.
taken_without_complaint() {
  udevadm test --action=add "$modem" >"$logs/udev.log" 2>&1
  grep -E '70-uwwan.rules:[0-9]+ (GROUP|MODE) ' "$logs/udev.log" || return 1
  ! grep -E '70-uwwan.*(nvalid|nknown|gnor)' "$logs/udev.log"
}

as_somebody=(setpriv --reuid=65534 --regid=plugdev --clear-groups)
somebody() { "${as_somebody[@]}" "$@"; }

# capable MODE: makes a copy of the program with capabilities, for the group plugdev.
capable=/run/capable/uwwan
capable() {
  install -D -o root -g plugdev -m "$1" "$program" "$capable" && setcap cap_net_admin+ep "$capable"
}

# tried: runs 'up' with that program as a member of the group and returns its exit status; it is
# ended once online.
tried() {
  install -d -o 65534 -g plugdev -m 700 /run/somebody
  # This is no function: its process would be a shell, and the signal would end only that.
  "${as_somebody[@]}" "$capable" up --device emulator --settle 0.1 --json --runtime-dir /run/somebody \
    >"$logs/capable.events" 2>"$logs/capable.errors" &
  local up=$!
  wait_for 60 up_decided "$up" || return
  kill -TERM "$up" 2>/dev/null
  wait "$up"
}
up_decided() { ! kill -0 "$1" 2>/dev/null || grep -q '"event":"online"' "$logs/capable.events"; }

refused_for_everybody() {
  tried
  [[ $? == 5 ]] && grep -q 'everybody could use' "$logs/capable.errors"
}

check 'the rule is installed' install -D -m 644 "$rule" /etc/udev/rules.d/70-uwwan.rules
check 'udev reads it' udevadm control --reload
modprobe vhci_hcd
check 'the far machine is up' start_far_side
check 'the emulated modem is plugged in' start_emulator far0 --attach
check 'it is an lt4132' wait_for 10 of 03f0:a31d
check "the group has the HP's node" wait_for 20 is plugdev 660
check 'the seat has it, too' tagged
check 'it is not hidden from ModemManager' not_hidden_from_modemmanager
check 'udev takes the rule without complaint' taken_without_complaint
check 'somebody of the group reads all its descriptors' somebody "$program" usb descriptors --device 03f0:a31d
check 'and talks AT with it' somebody "$program" at --device 03f0:a31d AT+CSQ
judge_emulator far0
check 'one of the other brand is plugged in' start_emulator far1 --attach --knob brand=huawei
check 'it is an ME906s' wait_for 10 of 12d1:15c1
check "the group has the Huawei's node" wait_for 20 is plugdev 660
check 'it is not hidden from ModemManager' not_hidden_from_modemmanager
check 'a root hub is there' of 1d6b:0002
check 'only root may write to it' is root 664
modem=''
judge_emulator far1
check 'the program gets capabilities, for everybody' capable 755
check 'it refuses to use them' refused_for_everybody
check 'it gets them for a group' capable 750
check 'somebody of the group is online with them' tried
finish
