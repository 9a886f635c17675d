#!/usr/bin/env bash
# The modem on an xHCI controller, with its device model outside the guest: QEMU's usb-redir device
# is connected to 'uwwan emulate --redir'. The guest's own drivers find it, 'uwwan up' brings it
# online with each USB backend, and traffic flows in both directions.
# packages: libmbim-utils libmbim-proxy
# guest: --cpus 1 --timeout 900
# outside: --knob ipv6=on
# shellcheck disable=SC2317 # 'check' calls the functions
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
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
finish
