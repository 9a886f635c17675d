#!/usr/bin/env bash
# 'uwwan up --usb nusb': what up-online.sh and up-losses.sh see with libusb,
# the parts of it that the USB backend has a hand in.
# guest: --timeout 180
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

modprobe -a vhci-hcd cdc_ether cdc_mbim option tun
check 'the far machine serves' start_far_side
check 'the emulated modem is plugged in' start_emulator far0 --attach
check 'cdc_ether and option are bound' wait_for 10 eval 'find_modem && drivers_are "cdc_ether option"'

start_up --usb nusb --reattach
wait_online 'online from configuration 2' 30
check 'events: configuration before 2, after 3' seen '.event == "configuration" and .before == 2 and .after == 3'
check 'usbfs holds the MBIM function' test "$(holder 0) $(holder 1)" = 'usbfs usbfs'
check 'the data interface is at alternate setting 1' test "$(alternate 1)" = 1
pings 'gateway' "$gateway"
measure 'iperf3 up' "$far_address"
measure 'iperf3 down' "$far_address" --reverse
measure 'iperf3 both ways at once' "$far_address" --bidir
fetches 'download' "$far_address"
delivers 'upload' "$far_address"

unplug 0
check 'unplugged: the loss is told' wait_for 20 lost_times 1
wait_online 'unplugged: online again' 60 2
pings 'unplugged' "$far_address"
measure 'unplugged: iperf3 down' "$far_address" --reverse

stop_up 'stop with --reattach'
find_modem
check 'stop with --reattach: cdc_mbim has the function again' wait_for 10 drivers_are 'cdc_mbim option'
check 'from configuration 3 by hand' "$program" usb config 2 --usb nusb
check 'configuration 2 is active' wait_for 10 configuration_is 2
judge_emulator far0
check 'no block was lost between host and modem' test "$(counter far0 blocks_missing)" = 0
finish
