#!/usr/bin/env bash
# 'uwwan up' with each USB backend in turn, in the same steps: online from configuration 2, traffic
# in both directions with many transfers in flight and endpoints that stall again and again, the
# modem unplugged under load, little memory for transfers, and a clean end. Commands over either
# are captured, and over MBIM the captures tell the same.
# guest: --cpus 1 --timeout 600
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

memory_limit=/sys/module/usbcore/parameters/usbfs_memory_mb

stop_flow() { kill "$flow" && wait "$flow"; }

# A size that was given up is tried again when something comes from the modem, after a minute at
# most.
more_with_memory() {
  local before
  before=$("$program" status --json | jq .framing.receive_transfers)
  wait_for 90 eval "ping -c 1 -W 1 '$far_address' >/dev/null; stated '.framing.receive_transfers > $before'"
}

# shown KIND TEXT: succeeds when the capture of that kind has something with that text.
shown() { "$program" capture show "$logs/$usb-$1.pcapng" --kind "$1" | grep "$2"; }

story() {
  check "$usb: the emulated modem is plugged in" start_emulator far0 --attach \
    --knob absent_ms=500 --knob stall_out_ppm=5000 --knob stall_in_ppm=5000
  check "$usb: cdc_ether and option are bound" wait_for 10 eval 'find_modem && drivers_are "cdc_ether option"'

  start_up
  wait_online "$usb: online from configuration 2" 30
  tun=$(tun)
  check "$usb: events: configuration before 2, after 3" seen '.event == "configuration" and .before == 2 and .after == 3'
  check "$usb: usbfs holds the MBIM function" test "$(holder 0) $(holder 1)" = 'usbfs usbfs'
  check "$usb: the data interface is at alternate setting 1" test "$(alternate 1)" = 1
  check "$usb: several transfers are in flight each way" stated '.framing | .receive_transfers >= 8 and .send_transfers >= 8'
  pings "$usb: gateway" "$gateway"
  measure "$usb: iperf3 up" "$far_address"
  measure "$usb: iperf3 down" "$far_address" --reverse
  measure "$usb: iperf3 both ways at once" "$far_address" --bidir
  fetches "$usb: download" "$far_address"
  delivers "$usb: upload" "$far_address"
  check "$usb: halts came both ways and were cleared, and nothing was dropped" stated \
    '.traffic | ([.dropped[].count] | add // 0) == 0
      and (.errors | map({(.name): .count}) | add | .send_stall > 0 and .receive_stall > 0
        and .halts_cleared == .send_stall + .receive_stall)'

  for ((time = 1; time <= 3; time++)); do
    # Both directions run at once, for longer than any timeout.
    start_flow 50 --parallel 4 --bidir
    unplug 0
    check "$usb: unplugged under load: the loss is told" wait_for 20 lost_times "$time"
    wait_online "$usb: unplugged under load: online again" 60 $((time + 1))
    stop_flow
  done 2>/dev/null # bash would tell of the load that was ended
  # The packets that the load has left in the queues are sent first.
  check "$usb: unplugged three times: the queues drain" wait_for 60 answers "$far_address"
  pings "$usb: unplugged three times" "$far_address"
  stop_up "$usb: stop"
  check "$usb: the drivers are back as they were" wait_for 10 eval 'find_modem && configuration_is 2 && drivers_are "cdc_ether option"'

  echo 1 >"$memory_limit"
  start_up --in-flight 64
  wait_online "$usb: little memory: online" 30
  check "$usb: little memory: several transfers are in use" stated '.framing.receive_transfers >= 8'
  fetches "$usb: little memory: download" "$far_address"
  check "$usb: little memory: smaller NTBs from the modem" stated '.framing.input_size < 65536'
  check "$usb: little memory: fewer transfers are in flight" stated '.framing | .receive_transfers < 64 and .receive_transfers >= 8'
  delivers "$usb: little memory: upload" "$far_address"
  measure "$usb: little memory: iperf3 both ways at once" "$far_address" --bidir
  check "$usb: little memory: what fits is in flight after that" stated '.framing.receive_transfers >= 8'
  echo 16 >"$memory_limit"
  check "$usb: memory again: more transfers" more_with_memory
  stop_up "$usb: little memory"

  check "$usb: configuration 3 by hand" "$program" usb config 3 --usb "$usb"
  check "$usb: configuration 3 is active" wait_for 10 configuration_is 3

  check "$usb: a command over MBIM is captured" "$program" radio --usb "$usb" --capture "$logs/$usb-mbim.pcapng"
  check "$usb: the capture has the answer" shown mbim 'command_done basic_connect radio_state'
  check "$usb: a command over AT is captured" "$program" at --usb "$usb" --capture "$logs/$usb-at.pcapng" AT+CGMM
  check "$usb: the capture has the command" shown at AT+CGMM
  check "$usb: the capture has the answer to it" shown at OK
  judge_emulator far0
  check "$usb: the plug is pulled" wait_for 10 modem_gone
}

modprobe -a vhci-hcd cdc_ether cdc_mbim option tun
check 'the far machine serves' start_far_side
for usb in libusb nusb; do
  story
done
check 'both backends tell the same of a command over MBIM' \
  "$program" capture show --diff "$logs/libusb-mbim.pcapng" "$logs/nusb-mbim.pcapng"
check 'the kernel has nothing to complain about' bash -c '! dmesg | grep -E "BUG|WARNING|Oops|usbfs: .*did not claim"'
finish
