#!/usr/bin/env bash
# The modem on an xHCI controller, with its device model outside the guest: QEMU's usb-redir device
# is connected to 'uwwan emulate --redir'. The guest's own drivers find it, 'uwwan up' brings it
# online with each USB backend, and traffic flows in both directions. It comes online again after a
# suspend, in each mode.
# packages: libmbim-utils libmbim-proxy
# guest: --cpus 1 --timeout 900
# outside: --knob ipv6=on
# shellcheck disable=SC2317 # 'check' calls the functions
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
if [[ $0 != /tmp/witness/* ]]; then
  # This is run from memory: a file of the repository could not even be closed after the suspend below.
  mkdir -p /tmp/witness/{tools,tests}
  cp tools/witness.sh /tmp/witness/tools/
  cp -r tests/guest /tmp/witness/tests/
  exec bash /tmp/witness/tests/guest/usb-redir.sh
fi
. "$(dirname "$0")/parts/all.sh"

controller_is() { [[ $(readlink -f "$modem") == */"$1"* && $(basename "$(readlink -f "$modem/../../driver")") == xhci_hcd ]]; }

modprobe -a xhci_pci cdc_ether cdc_mbim option tun
check 'the kernel finds it' wait_for 60 find_modem || finish
check 'it is on an xHCI controller' controller_is pci
check 'at high speed' test "$(<"$modem/speed")" = 480
check 'configuration 2 is active' wait_for 20 configuration_is 2
check 'cdc_ether and option are bound' wait_for 20 drivers_are 'cdc_ether option'

for backend in libusb nusb; do
  start_up --usb "$backend" --route "$far_prefix6"
  wait_online "$backend: online" 60 || continue
  pings "$backend: gateway" "$gateway"
  pings "$backend: far machine, IPv6" "$far_address6"
  measure "$backend: TCP down" "$far_address" --reverse
  measure "$backend: TCP up" "$far_address"
  stop_up "$backend"
done

# The kernel's own driver on the same controller follows.
through_zero 3
check 'cdc_mbim: a control device' wait_for 20 test -c /dev/cdc-wdm0
udevadm settle
check 'cdc_mbim: connected' timeout 60 mbimcli -d /dev/cdc-wdm0 --no-close --connect=apn=internet,ip-type=ipv4
wwan=$(modem_interface)
ip addr add "$host_address/30" dev "$wwan"
ip link set "$wwan" up
pings 'cdc_mbim: gateway' "$gateway"
ip link set "$wwan" down

# The kernel suspends all devices for a second and resumes them, as on the way into suspend-to-idle, from
# which nothing would wake this machine. Its 9p file systems do not survive that, so nothing of them is used
# from here on.
cp "$program" /usr/bin/uwwan
program=/usr/bin/uwwan
cd /
umount "$logs" || true
logs=/tmp/suspended
mkdir "$logs"
echo 1 >/sys/module/suspend/parameters/pm_test_delay
echo devices >/sys/power/pm_test
for mode in mbim ncm ecm; do
  start_up --mode "$mode"
  wait_online "$mode: online" 60 || continue
  pings "$mode: gateway" "$gateway"
  check "$mode: suspended and resumed" eval 'echo freeze >/sys/power/state'
  wait_online "$mode: online after the suspend" 60 2
  check "$mode: the transfers had ended" seen '.event == "lost"'
  pings "$mode: gateway after the suspend" "$gateway"
  stop_up "$mode"
done
finish
