#!/usr/bin/env bash
# 'uwwan up' on the guest's real USB stack against a modem that misbehaves: it leaves in the middle
# of the bring-up, sends garbage on every endpoint, has broken descriptors, or is refused by the
# network. Each backend gets its turn.
# guest: --timeout 600
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

plugged_in() { # name, option…
  local name=$1
  shift
  check "$name: the modem is plugged in" start_emulator far0 --attach "$@"
  check "$name: cdc_ether and option are bound" wait_for 10 eval 'find_modem && drivers_are "cdc_ether option"'
}

pulled_out() { # name
  judge_emulator far0
  check "$1: the plug is pulled" wait_for 10 modem_gone
}

# says STATUS TEXT OPTION…: does what 'refused' does, with the backend of the round.
says() {
  local name=$1 status=$2 text=$3
  shift 3
  refused "$usb: $name" "$status" "$text" --usb "$usb" --apn internet --route "$far_prefix" "$@"
}

started() { seen ".event == \"rung-started\" and .rung == \"$1\""; }

modprobe -a vhci-hcd cdc_ether cdc_mbim option tun
check 'the far machine serves' start_far_side

declare -A rungs=([libusb]='configuration registration' [nusb]='open connect')

for usb in libusb nusb; do
  # --- gone in the middle of a rung, and back; tests/tests/driver_emulator has all of them ---
  # This is slow enough for the modem to be unplugged in time.
  plugged_in "$usb: slow" --knob absent_ms=500 --knob slow_open_ms=1500 --knob registration_ms=1000 --knob connect_ms=1000
  for rung in ${rungs[$usb]}; do
    start_up --persist
    check "$usb: unplugged at $rung: it gets there" wait_for 30 started "$rung"
    unplug 0
    wait_online "$usb: unplugged at $rung: online in the end" 60
    pings "$usb: unplugged at $rung" "$far_address" -c 2
    stop_up "$usb: unplugged at $rung"
    configure 2
    check "$usb: unplugged at $rung: back in 2" wait_for 10 eval 'find_modem && drivers_are "cdc_ether option"'
  done
  pulled_out "$usb: slow"

  # --- garbage on every endpoint, and in the framing ---
  plugged_in "$usb: garbage" --knob garbage=300 --knob garbage_in_ppm=5000 --knob short_in_ppm=5000 \
    --knob garbage_response_every=3 --knob notification_storm=20
  start_up
  wait_online "$usb: garbage: online" 60
  fetches "$usb: garbage: download" "$far_address"
  delivers "$usb: garbage: upload" "$far_address"
  check "$usb: garbage: what was received and dropped is counted" stated \
    '.traffic.dropped | map(select(.name | startswith("received_")).count) | add > 0'
  stop_up "$usb: garbage"
  pulled_out "$usb: garbage"
done

# --- broken descriptors ---
for fault in truncated oversized empty; do
  plugged_in "$fault descriptors" --knob descriptors="$fault"
  for usb in libusb nusb; do
    says "$fault descriptors" 2 'it cannot carry packets by mbim
its descriptors are broken' --mode mbim
  done
  check "$fault descriptors: they can be looked at" "$program" usb descriptors
  pulled_out "$fault descriptors"
done

# --- the network's refusals ---
plugged_in 'one APN' --knob apn=corporate
for usb in libusb nusb; do
  says 'another APN' 7 'missing_or_unknown_apn
--apn'
done
pulled_out 'one APN'
plugged_in 'no subscription' --knob connect_status=2 --knob connect_cause=33
for usb in libusb nusb; do
  says 'no subscription' 7 'subscri'
done
pulled_out 'no subscription'
check 'the kernel has nothing to complain about' bash -c '! dmesg | grep -E "BUG|WARNING|Oops|usbfs: .*did not claim"'
finish
