#!/usr/bin/env bash
# What 'uwwan up' says and does when it cannot work: without a modem, with several, without
# permission, with a modem in use, after a predecessor was killed, with a wrong PIN, and with
# firmware that carries nothing because the NDP is in front, which is healed where the modem is
# unknown.
# guest: --cpus 1 --timeout 900
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

modprobe -a vhci-hcd cdc_ether cdc_mbim option tun
check 'the far machine serves' start_far_side
refused 'no modem' 3 'no modem is present'
check 'the emulated modem is plugged in' start_emulator far0 --attach
check 'cdc_ether and option are bound' wait_for 10 eval 'find_modem && drivers_are "cdc_ether option"'
refused 'no such modem' 3 "$(port)" --device 12d1:15c1

# --- an ordinary user ---
chmod 0664 "$(node)" # what devtmpfs and udev give without a rule of ours
install -d -o 65534 -g 65534 /tmp/runtime
install -m 0755 "$program" /tmp/uwwan # where an ordinary user may look
ordinary() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
for usb in libusb nusb; do
  result=0
  said=$(ordinary env UWWAN_RUNTIME_DIR=/tmp/runtime /tmp/uwwan up --usb "$usb" 2>&1) || result=$?
  check "$usb: no permission: exit status 5" test "$result" = 5
  check "$usb: no permission: the node is named" test "${said/"$(node)"/}" != "$said"
  check "$usb: no permission: the udev rule is named" test "${said/udev rule/}" != "$said"
done

for usb in libusb nusb; do
  # --- in use ---
  start_up
  wait_online "$usb: online" 30
  for other in libusb nusb; do
    refused "$usb: in use, for $other" 6 "$up_pid" --usb "$other"
    refused "$usb: in use, unknown to us, for $other" 6 "uwwan (process $(driver_of_up))" \
      --usb "$other" --runtime-dir /tmp/elsewhere
  done
  check "$usb: in use: the user of it is not disturbed" answers "$gateway"

  # --- a killed predecessor ---
  tun=$(tun)
  # The monitor of the killed driver cleans up, and ends.
  { kill -KILL "$(driver_of_up)" && wait "$up_pid"; } 2>/dev/null
  check "$usb: killed: the interface went with it" wait_for 5 test ! -e "/sys/class/net/$tun"
  start_up
  wait_online "$usb: after a killed one: online" 30
  pings "$usb: after a killed one" "$gateway"
  stop_up "$usb: after a killed one"
done
usb=libusb
judge_emulator far0
check 'the plug is pulled' wait_for 10 modem_gone

# --- the black hole ---
check 'the modem is plugged in again' start_emulator far0 --attach
check 'cdc_ether and option are bound again' wait_for 10 eval 'find_modem && drivers_are "cdc_ether option"'
start_up --ndp front
wait_online 'NDP in front: connected' 30
begun=$SECONDS
check 'NDP in front: diagnosed' wait_for 30 seen '.event == "diagnosis" and (.text | startswith("nothing comes back: ") and contains("--ndp front"))'
echo "diagnosed after $((SECONDS - begun)) s: $(jq -r 'select(.event == "diagnosis") | .text' "$events" | head -n 1)"
check 'NDP in front: status has the diagnosis' grep -q 'nothing comes back: ' <("$program" status)
check 'NDP in front: nothing comes through' test "$(answers "$gateway"; echo $?)" != 0
stop_up 'NDP in front'
judge_emulator far0
check 'NDP in front: the firmware swallowed datagrams' test "$(counter far0 black_holed)" -gt 0
check 'NDP in front: and passed none on' test "$(counter far0 datagrams_out)" = 0

# --- an unknown modem ---
# This is an lt4132 of another vendor, for which no row says where the NDP must be.
cp crates/usb/tests/vectors/descriptors/hp_lt4132_03f0_a31d.bin /tmp/unknown.bin
printf '\x34\x12' | dd of=/tmp/unknown.bin bs=1 seek=8 conv=notrunc status=none
check 'nobody knows it: plugged in' start_emulator far0 --attach \
  --descriptors /tmp/unknown.bin --knob black_hole_ndp_front=on
check 'nobody knows it: found' wait_for 10 find_modem
start_up
wait_online 'nobody knows it: connected' 30
check 'nobody knows it: healed' wait_for 30 seen '.event == "heal" and .step == "healed" and .layout.ndp == "end"'
jq -r 'select(.event == "heal") | .text' "$events"
pings 'nobody knows it: packets flow' "$gateway"
check 'nobody knows it: status tells' stated '.heal.step == "healed" and .framing.ndp == "end"'
stop_up 'nobody knows it'
start_up
wait_online 'the next time: online' 30
pings 'the next time: packets flow' "$gateway"
check 'the next time: it is known' seen '.event == "heal" and .step == "remembered"'
check 'the next time: nothing is tried' eval '! seen ".step == \"try\""'
stop_up 'the next time'
check 'list shows what was learnt' grep -q 'learnt.*NDP at the end' <("$program" list)
check 'it is forgotten' grep -qx '1 layout forgotten' <("$program" quirks forget "$(port)")
judge_emulator far0

# --- two modems, one with a locked SIM ---
check 'one modem is plugged in' start_emulator far0 --attach
check 'its kernel drivers are bound' wait_for 10 eval 'find_modem && drivers_are "cdc_ether option"'
first=$(port)
check 'another modem is plugged in' start_emulator far1 --attach --knob pin=1234 --far-side builtin
two() { (($("$program" list --json | jq length) == 2)); }
check 'two modems are listed' wait_for 10 two
second=$("$program" list --json | jq -r '.[].port' | grep -vx "$first")
refused 'two modems' 4 "$first
$second
--device"
echo 4321 >/tmp/wrong-pin
echo 1234 >/tmp/right-pin
refused 'a locked SIM, no PIN' 7 '--pin-file' --device "$second"
refused 'a locked SIM, the wrong PIN' 7 'PIN' --device "$second" --pin-file /tmp/wrong-pin
start_up --device "$second" --pin-file /tmp/right-pin
wait_online 'a locked SIM, the right PIN: online' 30
pings 'one of two modems' "$gateway"
stop_up 'one of two modems'
judge_emulator far1
judge_emulator far0
check 'the other modem was left alone' test "$(counter far0 configurations)" = 1
finish
