#!/usr/bin/env bash
# 'uwwan up' from the state in which a Linux machine finds the modem: configuration 2 with the
# kernel's drivers bound. It comes online, has traffic in both directions, reports state and list
# meanwhile, and leaves nothing behind at the end.
# guest: --cpus 1 --timeout 900
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

# network [INTERFACE]: prints the state of the network, except for that interface.
network() {
  ip -brief addr | grep -v "^${1:-none} "
  ip route show table all
  ip -6 route show table all
  ip rule
}

# listed FILTER: succeeds when jq's filter is true of the output of 'list --json'.
listed() {
  local said
  said=$("$program" list --json)
  if [[ -z $said ]] || ! jq -e "$1" <<<"$said" >/dev/null; then
    echo "$said"
    return 1
  fi
}

exits() { # status, command…
  local wanted=$1 result=0
  shift
  "$@" || result=$?
  ((result == wanted))
}

# nice_of THREAD: prints the nice value of a thread of the driver.
nice_of() {
  local task
  for task in "/proc/$(driver_of_up)/task"/*; do
    if [[ $(<"$task/comm") == "$1" ]]; then
      cut -d' ' -f19 "$task/stat"
    fi
  done
}

# found TEXT: succeeds when the search of 'forgotten' finds the text.
found() { ! forgotten "$1" >/dev/null; }

modprobe -a vhci-hcd usbmon cdc_ether cdc_mbim option tun
check 'the far machine serves' start_far_side
network_before=$(network)
check 'list: empty without a modem' listed '. == []'
check 'the emulated modem is plugged in' start_emulator far0 --attach
check 'the kernel finds it' wait_for 10 find_modem
check 'configuration 2 is active' wait_for 10 configuration_is 2
check 'cdc_ether and option are bound' wait_for 10 drivers_are 'cdc_ether option'
check 'list: one modem in configuration 2, ready' listed \
  'length == 1 and (.[0] | .id == "03f0:a31d" and .port == "'"$(port)"'" and .configuration == {active: 2, wanted: 3}
    and .ready and .quirks.ndp == "end" and .quirks.via_zero
    and ([.kernel_drivers[].driver] | unique) == ["cdc_ether", "option"])'

start_up
wait_online 'online from configuration 2' 30
tun=$(tun)
check 'events: configuration before 2, after 3' seen '.event == "configuration" and .before == 2 and .after == 3'
check 'events: the address of the network' seen '.event == "addresses" and .ipv4.address == "'"$host_address"'"'
check 'the thread that moves the packets goes first, and it alone' \
  test "$(nice_of uwwan-data) $(nice_of uwwan-control)" = '-11 0'
check 'the driver has no capability, and every process is confined' stated \
  '[.processes[] | .no_new_privs and .seccomp] == [true, true]
    and (.processes[0] | .name == "driver" and .uid != 0 and .capabilities == "0000000000000000")'
driver_user=$(field_of "$(driver_of_up)" Uid | cut -f1)
check 'the driver is a user of its own, in no further group' \
  test "$driver_user" -ge 65520 -a "$(field_of "$(driver_of_up)" Groups)" = ''
check 'it dumps no core, nor does its monitor' test "$(grep -h 'core file' "/proc/$up_pid/limits" \
  "/proc/$(driver_of_up)/limits" | tr -s ' ' | cut -d' ' -f5,6 | sort -u)" = '0 0'
check 'the runtime directory is in one of root' test "$(stat -c %u /run/uwwan)" = 0
echo "# processes $("$program" status --json | jq -c .processes)"
check 'configuration 3 is active' configuration_is 3
check 'usbfs holds the MBIM function' test "$(holder 0) $(holder 1)" = 'usbfs usbfs'
check 'the data interface is at alternate setting 1' test "$(alternate 1)" = 1
check 'status: online, address, layout, interface' stated \
  '.online and .rung == "online" and .configuration == {before: 2, after: 3} and .framing.ndp == "end"
    and .addresses.ipv4.address == "'"$host_address"'" and .addresses.gateway4 == "'"$gateway"'" and .interface.name == "'"$tun"'"'
check 'list: in use, and by whom' listed \
  '.[0] | .configuration.active == 3 and .driven_by.online and .driven_by.pid == '"$(driver_of_up)"
check 'the TUN interface has the address' grep -q "inet $host_address/30" <(ip addr show dev "$tun")
check 'the TUN interface has the MTU of the network' grep -q 'mtu 1500' <(ip link show dev "$tun")
check 'the flows are spread over queues' test "$(compgen -G "/sys/class/net/$tun/queues/tx-*" | wc -l)" = 32
check 'only the wanted route leads there' test "$(ip route show default)" = '' -a -n "$(ip route show "$far_prefix" dev "$tun")"

pings 'gateway' "$gateway"
pings 'behind the gateway, through the route' "$far_address"
pings 'whole packets' "$gateway" -s 1472 -M 'do'
measure 'iperf3 up' "$far_address"
measure 'iperf3 down' "$far_address" --reverse
measure 'iperf3 both ways at once' "$far_address" --bidir
fetches 'download' "$far_address"
delivers 'upload' "$far_address"
check 'status: traffic is counted, nothing was dropped' stated \
  '.traffic | .uplink.bytes > 8388608 and .downlink.bytes > 8388608 and ([.dropped[].count] | add // 0) == 0'

cat "/sys/kernel/debug/usb/usbmon/$(<"$modem/busnum")u" >"$logs/down.usbmon" &
capture=$!
stop_up 'stop'
kill "$capture"
check 'down: MBIM_CLOSE was sent' grep -q ' s 21 00 .* = 02000000 0c000000 ' "$logs/down.usbmon"
check 'down: MBIM_CLOSE_DONE came' grep -q ' C Ci:.* = 02000080 10000000 .* 00000000$' "$logs/down.usbmon"
check 'down: alternate setting 0 was selected' grep -q ' s 01 0b 0000 0001 0000 ' "$logs/down.usbmon"
check 'down: the modem was unconfigured on its way back' grep -q ' s 00 09 0000 0000 0000 ' "$logs/down.usbmon"
check 'down: interface, addresses and routes are as before' test "$(network "$(modem_interface)")" = "$network_before"
udevadm settle
check 'down: the drivers are back in configuration 2' wait_for 10 eval 'configuration_is 2 && drivers_are "cdc_ether option"'
check 'events: the drivers are back' seen '.event == "given-back" and .configuration == 2 and .drivers[0] == {interface: 0, driver: "cdc_ether"}'
check 'down: the control socket is gone' test ! -e "/run/uwwan/$(port)/control"
check 'list: free again, in configuration 2' listed '.[0] | .configuration.active == 2 and .ready and .obstacles == []'
check 'status: says that nothing runs' exits 3 "$program" status
check 'down: says that nothing runs' exits 3 "$program" down

start_up --reattach false
wait_online 'online again' 30
pings 'online again' "$gateway"
stop_up 'stop without drivers'
udevadm settle
check 'stop without drivers: none is bound to the function' test -z "$(holder 0)$(holder 1)"
check 'stop without drivers: configuration 3 stays' configuration_is 3
check 'stop without drivers: the data interface is at alternate setting 0' test "$(alternate 1)" = 0

start_up --reattach false
wait_online 'killed: online' 30
check 'killed: the driver' kill -KILL "$(driver_of_up)"
result=0
wait "$up_pid" || result=$?
check 'killed: its end is told' test "$result" = 137
check 'killed: interface, addresses and routes are as before' test "$(network)" = "$network_before"
check 'killed: nothing is left in the runtime directory' test -z "$(ls -A /run/uwwan)"
judge_emulator far0
check 'no NTB was lost between host and modem' test "$(counter far0 blocks_missing)" = 0

# The SIM has a PIN and the access point a password; the emulated modem is another process.
check 'secrets: the plug is pulled' wait_for 10 modem_gone
check 'secrets: a locked modem is plugged in' start_emulator far0 --attach --knob pin=83920174
check 'secrets: the kernel finds it' wait_for 10 find_modem
check 'secrets: cdc_ether and option are bound' wait_for 10 drivers_are 'cdc_ether option'
install -m 600 /dev/null /etc/pin
install -m 600 /dev/null /etc/password
echo 83920174 >/etc/pin
echo swordfish-7Q >/etc/password
start_up --pin-file /etc/pin --auth chap --user me --password-file /etc/password
wait_online 'secrets: online' 40
check 'secrets: PIN and password are forgotten' forgotten 83920174 swordfish-7Q
check 'secrets: the search finds what is kept' found "$(tun)"
unplug 0
wait_online 'secrets: online after a replug' 60 2
check 'secrets: PIN and password are forgotten again' forgotten 83920174 swordfish-7Q
wrong='91827364 61573948'
printf '%s\n' "${wrong% *}" >/etc/wrong
printf '%s\n' "${wrong#* }" >/etc/new
chmod 600 /etc/wrong /etc/new
check 'secrets: a wrong PIN by another program is refused' \
  fails_with 7 "$program" pin change --pin-file /etc/wrong --new-pin-file /etc/new
check 'secrets: a wrong PIN by AT is refused' \
  fails_with 7 "$program" at --force <<<'AT+CPWD="SC","29174836","74620395"'
# shellcheck disable=SC2086 # two words
check 'secrets: both are forgotten' forgotten $wrong 29174836 74620395
stop_up 'secrets'
check 'secrets: no file belongs to the user of the driver' \
  test -z "$(find /run /var/lib /tmp /etc -user "$driver_user" 2>/dev/null)"
judge_emulator far0
finish
