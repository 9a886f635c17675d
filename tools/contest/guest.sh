#!/usr/bin/env bash
# The guest's half of tools/bench-kernel: every contender drives the same
# emulated modem in turn, round after round. Each visit starts with a freshly
# plugged modem, so that what the modem saw can be told apart by contender.
#
# Measurements go to $UWWAN_CONTEST_OUTPUT/samples.json, one object after another;
# 'contest-report' evaluates them outside the guest. 'ok' and 'not ok' lines are those
# of a witness.
# shellcheck disable=SC2317 # 'check' calls the functions
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh

# Files outside the guest answer in the host's time instead of the guest's, so files
# that are used during a measurement lie in memory.
export UWWAN_LOGS=/tmp/logs
cp "${UWWAN_PROGRAM:?names the program to try}" /tmp/uwwan
UWWAN_PROGRAM=/tmp/uwwan
. "$(dirname "$0")/../../tests/guest/parts/all.sh"

output=${UWWAN_CONTEST_OUTPUT:?names the directory for what is measured}

rounds=${UWWAN_CONTEST_ROUNDS:-3}
seconds=${UWWAN_CONTEST_SECONDS:-3}
short=${UWWAN_CONTEST_SHORT:-}
tests=${UWWAN_CONTEST_TESTS:-.}
# The modem and the machine behind it are outside the guest.
redir=''
[[ ${UWWAN_CONTEST_REDIR:-false} != true ]] || redir=1
read -ra wanted <<<"${UWWAN_CONTEST_CONTENDERS:-}"
# The knobs of the emulated modem, which bench-kernel gives to a modem outside the guest itself.
read -ra knobs <<<"${UWWAN_CONTEST_KNOBS:?tells knobs of the modem}"
# The link behind it, if one bounds the rate.
air=${UWWAN_CONTEST_AIR:-}
: "${program:?}" "${logs:?}" "${far_address:?}" "${far_address6:?}" "${far_prefix:?}" "${far_prefix6:?}"
samples=$output/samples.json
: >"$samples"

# --- who takes part ---

# The options of this build's 'uwwan up' decide, so that nothing is measured under
# a wrong name.
help=$("$program" up --help)
# The contenders are the kernel as it comes, the kernel with the largest NTBs its driver takes, uwwan
# as it comes, and uwwan with each of its other options in turn.
declare -A options=([uwwan]='' [uwwan-acks]=--ack-filter [uwwan-ncm]='--mode ncm' [uwwan-ecm]='--mode ecm')
# A TUN that was made beforehand has one queue, unless whoever made it asked for several.
options+=([uwwan-made]='--tun-name made0' [uwwan-made-plain]='--tun-name made0 --tun-mode plain')
# What a capture costs, beside 'uwwan': with zeros for the payload, and without room for them.
capture='--snap 128 --capture-force --capture-ring 64M:2 --capture /tmp/trace.pcapng'
options+=([uwwan-capture]=$capture [uwwan-capture-packed]=$capture.zst)
contenders=(cdc_mbim cdc_mbim-64k uwwan)
[[ $help != *--ack-filter* ]] || contenders+=(uwwan-acks)
if [[ $help == *--tun-mode* ]]; then
  modes=(plain offload)
else
  modes=('')
fi
backends=(libusb)
[[ $help != *'libusb, nusb'* ]] || backends+=(nusb)
for backend in "${backends[@]}"; do
  for mode in "${modes[@]}"; do
    name=$backend${mode:+-$mode}
    # This combination is the default.
    [[ $name == libusb-offload ]] || contenders+=("$name")
    options[$name]=${mode:+"--tun-mode $mode"}
    ((${#backends[@]} == 1)) || options[$name]+=" --usb $backend"
  done
done
# There is no cable that leads out of the guest.
[[ $redir ]] || contenders+=(veth)
if [[ $short ]]; then
  # The kernel and uwwan, both as they come.
  contenders=(cdc_mbim uwwan)
fi
((${#wanted[@]} == 0)) || contenders=("${wanted[@]}")

# The far machine: one packet a call on its interface, which costs more than all else, or with
# segmentation and receive offload, as a server has. Names of tests tell the latter.
read -ra machines <<<"${UWWAN_CONTEST_FAR:-tun offload}"
[[ ! $redir ]] || machines=(tun)
machine=tun

# --- accounting ---

# Each party has a control group, because only control groups account for processor
# time to the microsecond.
parties=(near far emulator controller driver)
group=/sys/fs/cgroup/command
for party in "${parties[@]}"; do mkdir "$group/$party"; done

belongs() { # party, pid…
  local pid party=$1
  shift
  for pid; do echo "$pid" >"$group/$party/cgroup.procs"; done
}

as() { # party, command…
  local party=$1
  shift
  (
    belongs "$party" "$BASHPID"
    exec "$@"
  )
}

controller_threads() { # the virtual host controller's
  local file name
  for file in /proc/[0-9]*/comm; do
    read -r name <"$file" && [[ $name == vhci_[rt]x ]] && basename "${file%/comm}"
  done 2>/dev/null
}

# Fills 'account', in microseconds: wall clock, idle time of all processors,
# and how long each party has run.
declare -A account=()
processors=$(nproc) ticks=$(getconf CLK_TCK)
take_account() {
  local party idle waiting _
  account[wall]=${EPOCHREALTIME/[.,]/}
  read -r _ _ _ _ idle waiting _ </proc/stat
  account[idle]=$(((idle + waiting) * 1000000 / ticks))
  for party in "${parties[@]}"; do
    read -r _ account["$party"] <"$group/$party/cpu.stat"
  done
}

# The losses on the way, in the order of 'losses': packets that the queueing disciplines of either
# machine dropped, those that interfaces had no room for, and datagrams that sockets had no room for.
losses=(qdisc_drops interface_drops receive_buffer_errors)
declare -A lost=()
take_losses() {
  local side sides=('')
  # Outside the guest, nobody is asked.
  [[ $redir ]] || sides+=(far)
  lost=([qdisc_drops]=0 [interface_drops]=0 [receive_buffer_errors]=0)
  for side in "${sides[@]}"; do
    ((lost[qdisc_drops] += $($side tc -s -j qdisc show | jq '[.[].drops // 0] | add // 0'))) || :
    ((lost[interface_drops] += $($side ip -s -j link show | jq '[.[].stats64 | .tx.dropped + .rx.dropped] | add // 0'))) || :
    ((lost[receive_buffer_errors] += $($side cat /proc/net/snmp | awk '$1 == "Udp:" { if (!at) { for (i = 1; i <= NF; i++) if ($i == "RcvbufErrors") at = i } else print $at }'))) || :
  done
}

# failed TEST FILE STATUS: reports a failed measurement, with the known reasons.
failed() {
  local why
  why=$(jq -r '.error // empty' <"$2" 2>/dev/null)
  [[ $why ]] || why=$(tail -c 300 "$2" | tr '\n' ' ')
  (($3 != 124)) || why+=" (it did not end in time)"
  why="exit status $3: ${why:-it said nothing}"
  not_ok "$contender $1, round $round" "$why"
  write failure "\"test\":\"$1\",\"why\":$(jq -Rs . <<<"$why")"
}

# write KIND MEMBERS: one object into 'samples'.
write() {
  printf '{"kind":"%s","contender":"%s","round":%d,%s}\n' "$1" "$contender" "$round" "$2" >>"$samples"
}

# traffic TEST OPTION…: iperf3 for some seconds, with an account of who ran.
traffic() {
  local test=$1$suffix said=$logs/iperf3.json key spent='' result=0 missing=''
  local -A before=() had=()
  [[ $test =~ $tests ]] || return 0
  shift
  take_losses
  for key in "${losses[@]}"; do had[$key]=${lost[$key]}; done
  take_account
  for key in "${!account[@]}"; do before[$key]=${account[$key]}; done
  as near timeout $((seconds * 20 + 30)) iperf3 --json --interval 0 --time "$seconds" --connect-timeout 5000 "$@" >"$said" 2>&1 || result=$?
  take_account
  if ((result)); then
    failed "$test" "$said" "$result"
    return 1
  fi
  take_losses
  for key in "${losses[@]}"; do
    missing+="${missing:+,}\"$key\":$((lost[$key] - had[$key]))"
  done
  for key in "${!account[@]}"; do
    spent+="${spent:+,}\"$key\":$((account[$key] - before[$key]))"
  done
  write traffic "\"test\":\"$test\",\"processors\":$processors,\"micros\":{$spent},\"losses\":{$missing},\"iperf3\":$(<"$said")"
}

# round_trips TEST COUNT PAUSE: echo requests to the gateway.
round_trips() {
  local said times test=$1$suffix
  [[ $1 =~ $tests ]] || return 0
  said=$(ping -n -c "$2" -i "$3" -W 2 "$target" 2>&1)
  times=$(sed -n 's/.*time=\([0-9.]*\) ms/\1/p' <<<"$said" | paste -sd,)
  if [[ ! $times ]]; then
    not_ok "$contender $test, round $round" "$(tail -n 2 <<<"$said" | tr '\n' ' ')"
    return 1
  fi
  write ping "\"test\":\"$test\",\"sent\":$2,\"milliseconds\":[$times]"
}

loaded_round_trips() { # test, iperf3 option…
  local test=$1 load
  [[ $test =~ $tests ]] || return 0
  shift
  timeout $((seconds * 20 + 30)) iperf3 --client "$far" --time $((seconds + 2)) "$@" >/dev/null 2>&1 &
  load=$!
  sleep 1
  round_trips "$test" $((seconds * 10)) 0.1
  wait "$load"
}

driver_pid=''
# The system calls of the driver's threads while it carries traffic, counted by
# the kernel: strace would slow down what it counts.
trigger=/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/trigger
count_calls() { # test, iperf3 option…
  local test=$1 said=$logs/iperf3.json task filter='' hist
  [[ $test =~ $tests ]] || return 0
  shift
  for task in /proc/"$driver_pid"/task/*; do
    filter+="${filter:+ || }common_pid == ${task##*/}"
  done
  hist="hist:keys=id.syscall if $filter"
  echo "$hist" >"$trigger" || {
    not_ok "$contender $test, round $round" "the kernel does not count system calls"
    return 1
  }
  timeout 60 iperf3 --json --interval 0 --time 1 "$@" >"$said"
  local counted
  counted=$(sed -nE 's/^\{ id: (sys_)?([^ ]+) .*hitcount: *([0-9]+).*/"\2":\3/p' "${trigger%trigger}hist" | paste -sd,)
  echo "!$hist" >"$trigger"
  write calls "\"test\":\"$test\",\"calls\":{$counted},\"iperf3\":$(<"$said")"
}

# What has the host run while a link that bounds the rate carries traffic, counted by the kernel:
# completions of transfers, timers of the kernel's driver, threads of uwwan and of the program that
# measures, and how often a processor left its idle state, for whomever.
tracing=/sys/kernel/debug/tracing
declare -A wake_triggers=(
  ["$tracing/events/power/cpu_idle"]='hist:keys=cpu_id if state != 4294967295'
  ["$tracing/events/sched/sched_waking"]='hist:keys=pid,comm'
  ["$tracing/events/timer/hrtimer_expire_entry"]='hist:keys=function.sym'
  ["$tracing/events/contest/completed"]='hist:keys=common_pid'
)

# hits EVENT REGEX: prints how often an event has been counted under keys that match.
hits() {
  awk -v keys="$2" '/hitcount:/ && $0 ~ keys { sub(/.*hitcount: */, ""); sum += $1 } END { print sum + 0 }' \
    "$tracing/events/$1/hist"
}

count_wakeups() { # test, iperf3 option…
  local test=$1 said=$logs/iperf3.json event task result=0 driver='^$' client
  [[ $test =~ $tests ]] || return 0
  shift
  [[ -e $tracing/events/contest ]] || echo 'p:contest/completed usb_hcd_giveback_urb' >"$tracing/kprobe_events"
  if [[ $driver_pid ]]; then
    for task in /proc/"$up_pid"/task/* /proc/"$driver_pid"/task/*; do
      driver+="|pid: +${task##*/}[, ]"
    done
  fi
  for event in "${!wake_triggers[@]}"; do
    echo "${wake_triggers[$event]}" >"$event/trigger" || result=1
  done
  # iperf3 becomes the process that is waited for, so that its id tells it from the far machine's.
  {
    belongs near "$BASHPID"
    exec iperf3 --json --interval 0 --time "$seconds" --connect-timeout 5000 "$@"
  } >"$said" 2>&1 &
  client=$!
  wait "$client" || result=$?
  if ((!result)); then
    write wakeups "\"test\":\"$test\",\"counts\":{\"idle\":$(hits power/cpu_idle .),\"driver\":$(hits sched/sched_waking "$driver"),\"program\":$(hits sched/sched_waking "pid: +${client}[, ]"),\"timers\":$(hits timer/hrtimer_expire_entry cdc_ncm_),\"transfers\":$(hits contest/completed .)},\"iperf3\":$(<"$said")"
  else
    failed "$test, wake-ups" "$said" "$result"
  fi
  for event in "${!wake_triggers[@]}"; do
    echo "!${wake_triggers[$event]}" >"$event/trigger"
  done
}

# profile TEST NAME: writes the use of processor time as text: the deepest functions of all processors, and
# for a driver that is a process the time of its functions with all that they call. perf starts the load itself: it takes long to
# start where files lie outside the guest.
profile() { # test, name, iperf3 option…
  local file=$output/profile-$contender-$2.txt
  [[ $1 =~ $tests ]] || return 0
  shift 2
  perf record --quiet -g --all-cpus --event cpu-clock --freq 2000 --output /tmp/perf.data -- \
    timeout 60 iperf3 --client "$far" --time 2 "$@" >/dev/null 2>&1
  perf_report --no-children --sort comm,dso,symbol >"$file"
  grep -q iperf3 "$file" || not_ok "$contender, round $round: profile" 'perf does not work here'
  [[ ! $driver_pid ]] || perf_report --children --comm uwwan-data --sort symbol >"${file%.txt}-driver.txt"
}

perf_report() { # option…
  perf report --input /tmp/perf.data --stdio --call-graph none --percent-limit 0.05 "$@" 2>/dev/null | grep -v '^$'
}

# --- the contenders ---

plug_in() {
  if [[ $redir ]]; then
    # The modem is unconfigured, and the kernel finds it again, as after a replug.
    wait_for 60 find_modem || return
    echo 0 >"$modem/authorized"
    echo 1 >"$modem/authorized"
    wait_for 20 drivers_are 'cdc_ether option' && udevadm settle
    return
  fi
  start_emulator far0 --attach "${knobs[@]/#/--knob=}" --far-side "$machine:far0" &&
    wait_for 20 find_modem &&
    wait_for 20 drivers_are 'cdc_ether option' &&
    udevadm settle || return
  local threads
  mapfile -t threads < <(controller_threads)
  belongs emulator "${emulators[far0]}"
  belongs controller "${threads[@]}"
}

# Succeeds when a driver of the kernel has the modem.
kernels() {
  case $contender in
    cdc_mbim* | huawei_cdc_ncm | cdc_ether) ;;
    *) return 1 ;;
  esac
}

# Writes the NTBs that the kernel's driver and the modem have agreed on.
kernels_framing() {
  local files
  files=/sys/class/net/$(modem_interface)/cdc_ncm
  [[ -d $files ]] || return 0
  local ndp=front
  [[ $(<"$files/ndp_to_end") != Y ]] || ndp=end
  write status "\"status\":{\"framing\":{\"ndp\":\"$ndp\",\"output_size\":$(<"$files/tx_max"),\"input_size\":$(<"$files/rx_max"),\"rest_us\":$(<"$files/tx_timer_usecs")}}"
}

# Sets the largest NTBs from the modem that the kernel's driver takes, for the contender with them.
large_ntbs() {
  [[ $contender == cdc_mbim-64k ]] || return 0
  echo 65536 >"/sys/class/net/$1/cdc_ncm/rx_max"
}

cdc_mbim_up() {
  through_zero 3
  wait_for 20 test -c /dev/cdc-wdm0 && udevadm settle || return
  local wwan
  wwan=$(modem_interface)
  timeout 60 mbimcli -d /dev/cdc-wdm0 --no-close --connect='apn=internet,ip-type=ipv4v6' >"$logs/mbimcli.log" 2>&1 || {
    tail -n 2 "$logs/mbimcli.log"
    return 1
  }
  [[ $(<"/sys/class/net/$wwan/cdc_ncm/ndp_to_end") == Y ]] &&
    ip addr add "$host_address/30" dev "$wwan" &&
    ip addr add "$host_address6/64" dev "$wwan" nodad &&
    large_ntbs "$wwan" &&
    ip link set "$wwan" up &&
    ip route add "$far_prefix" via "$gateway" dev "$wwan" &&
    ip route add "$far_prefix6" dev "$wwan"
}

# Finds the serial port of an interface of the modem, and leaves its path in 'port'.
serial_port() { port=$(basename "$modem":*."$1"/ttyUSB*) && [[ -c /dev/$port ]]; }

# Dials by AT on the serial port of an interface of the modem, and configures the network interface
# with the addresses that all have.
dial_up() { # interface of the port
  local port net router
  wait_for 20 serial_port "$1" && udevadm settle || return
  net=$(modem_interface)
  ip link set "$net" up
  exec {tty}<>"/dev/$port"
  stty raw -echo <&"$tty"
  at 'AT+CGDCONT=1,"IPV4V6","internet"' | grep -qx OK &&
    at 'AT^NDISDUP=1,1,"internet"' | grep -qx OK || return
  router() { router=$(ip -6 -json route show default dev "$net" | jq -r '.[0].gateway // empty') && [[ $router ]]; }
  ip addr add "$host_address/30" dev "$net" &&
    ip addr add "$host_address6/64" dev "$net" nodad &&
    ip route add "$far_prefix" via "$gateway" dev "$net" &&
    wait_for 20 router &&
    ip route add "$far_prefix6" via "$router" dev "$net"
}

cdc_ether_up() { dial_up 4; }

huawei_cdc_ncm_up() {
  through_zero 1
  wait_for 20 drivers_are option || return
  echo '03f0 a31d ff 12d1 0' >/sys/bus/usb/drivers/huawei_cdc_ncm/new_id
  wait_for 20 drivers_are 'huawei_cdc_ncm option' && wait_for 20 modem_interface && dial_up 2
}

uwwan_up() { # option…
  [[ $contender != uwwan-made* ]] || ip tuntap add dev made0 mode tun || return
  start_up --route "$far_prefix6" "$@"
  belongs driver "$up_pid"
  wait_for 10 driver_of_up
  driver_pid=$(driver_of_up)
  belongs driver "$driver_pid"
  wait_for 60 online_or_ended 1
  online_times 1 || {
    why_not
    return 1
  }
}

veth_up() {
  ip link add veth0 type veth peer name veth1 netns far
  ip addr add "$host_address/30" dev veth0
  ip addr add "$host_address6/64" dev veth0 nodad
  far ip addr add "$gateway/30" dev veth1
  far ip addr add "${host_address6%:*}:1/64" dev veth1 nodad
  ip link set veth0 up
  far ip link set veth1 up
  ip route add "$far_prefix" via "$gateway"
  ip route add "$far_prefix6" via "${host_address6%:*}:1"
}

end_visit() {
  if [[ $driver_pid ]]; then
    sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$driver_pid/status" >"$logs/peak"
    write memory "\"peak_kib\":$(<"$logs/peak")"
    write status "\"status\":$("$program" status --json 2>/dev/null || echo null)"
    "$program" down --timeout 20 >/dev/null 2>&1 || kill -KILL "$driver_pid"
    wait "$up_pid"
    driver_pid=''
    [[ $contender != uwwan-made* ]] || ip link del made0
    rm -f /tmp/trace*
  fi
  if [[ $contender == veth ]]; then
    ip link del veth0
    return
  fi
  if kernels; then
    kernels_framing
    local counters
    counters=$(cd "/sys/class/net/$(modem_interface)/statistics" && for file in tx_dropped tx_errors rx_errors rx_dropped; do echo "\"$file\":$(<$file)"; done | paste -sd,)
    write interface "\"statistics\":{$counters}"
  fi
  if [[ $tty ]]; then
    exec {tty}>&-
    tty=''
  fi
  [[ $contender != huawei_cdc_ncm ]] || echo '03f0 a31d' >/sys/bus/usb/drivers/huawei_cdc_ncm/remove_id
  # Outside, the modem lives on; its report is for all visits together.
  [[ ! $redir ]] || return 0
  stop_emulator far0
  wait_for 20 modem_gone
  write modem "\"report\":$(jq -c '{counters, violations_by_rule}' "$logs/far0.json")"
  local broken
  broken=$(jq -r '.violations_by_rule | add // 0' "$logs/far0.json")
  # Rules that the kernel's driver breaks are reported, and not judged.
  if ((broken)) && ! kernels; then
    not_ok "$contender, round $round: no rule of USB, NCM and MBIM broken" "$(jq -c .violations_by_rule "$logs/far0.json")"
  fi
}

# Settings that depend on the far machine.
measure_tcp() {
  traffic 'TCP down, 1 flow' --client "$far" --reverse
  traffic 'TCP up, 1 flow' --client "$far"
  if [[ ! $short ]]; then
    traffic 'TCP down, 4 flows' --client "$far" --reverse --parallel 4
    traffic 'TCP up, 4 flows' --client "$far" --parallel 4
    traffic 'TCP down, IPv6' --client "$far_address6" --reverse
    traffic 'TCP up, IPv6' --client "$far_address6"
  fi
}

measure_all() {
  far=$far_address target=$gateway suffix=''
  if [[ $machine == offload ]]; then
    suffix=', offloading far side'
    measure_tcp
    return
  fi
  round_trips 'ping idle' $((seconds * 20)) 0.02
  measure_tcp
  # iperf3 answers UDP from the address that routing picks: the gateway's.
  traffic 'UDP up, 64 bytes' --client "$gateway" --udp --bitrate 0 --length 64
  if [[ ! $short ]]; then
    traffic 'UDP down, 64 bytes' --client "$gateway" --reverse --udp --bitrate 0 --length 64
    loaded_round_trips 'ping while downloading' --reverse
    loaded_round_trips 'ping while uploading'
  fi
  # Where nothing bounds the rate, a driver runs as often as its processor lets it.
  if [[ $air && $contender != veth ]]; then
    count_wakeups 'TCP down, 1 flow' --client "$far" --reverse
    count_wakeups 'TCP up, 1 flow' --client "$far"
  elif [[ $driver_pid ]]; then
    count_calls 'TCP down, 1 flow' --client "$far" --reverse
    count_calls 'TCP up, 1 flow' --client "$far"
  fi
  if [[ ${UWWAN_CONTEST_PROFILE:-} && $round == "$rounds" ]]; then
    profile 'TCP down, 1 flow' down --reverse
    profile 'TCP up, 1 flow' up
    far=$target
    profile 'UDP up, 64 bytes' packets-up --udp --bitrate 0 --length 64
    profile 'UDP down, 64 bytes' packets-down --reverse --udp --bitrate 0 --length 64
  fi
}

visit() {
  contender=$1
  local begun=$SECONDS failures=$witness_failures words
  words=$logs/visit
  if [[ $contender != veth ]] && ! plug_in >"$words" 2>&1; then
    not_ok "$contender, round $round" "the modem does not come up: $(tail -n 3 "$words" | tr '\n' ' ')"
    return
  fi
  local result=0 chosen=()
  read -ra chosen <<<"${options[$contender]:-}"
  case $contender in
    veth) veth_up ;;
    cdc_mbim*) cdc_mbim_up ;;
    huawei_cdc_ncm | cdc_ether) "${contender}_up" ;;
    *) uwwan_up "${chosen[@]}" ;;
  esac >"$words" 2>&1 || result=$?
  if ((result)) || ! wait_for 10 answers "$gateway"; then
    not_ok "$contender, round $round" "it is not online: $(tail -n 3 "$words" | tr '\n' ' ')"
  else
    measure_all
  fi
  end_visit
  ((witness_failures > failures)) || ok "$contender, far side $machine, round $round: measured in $((SECONDS - begun)) s"
}

modprobe -a vhci-hcd xhci_pci cdc_ether cdc_mbim huawei_cdc_ncm option tun veth
contender='' tty='' round=0 suffix=''
write machine "\"begun\":\"${UWWAN_CONTEST_BEGUN:-}\",\"command\":$(jq -Rs . <<<"${UWWAN_CONTEST_COMMAND:-}"),\"knobs\":$(jq -cn '$ARGS.positional' --args "${knobs[@]}"),\"air\":\"$air\",\"kernel\":\"$(uname -r)\",\"processors\":$processors,\"model\":\"$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)\",\"seconds\":$seconds,\"rounds\":$rounds,\"program\":\"$("$program" --version)\",\"qdisc\":\"$(sysctl -n net.core.default_qdisc)\",\"congestion\":\"$(sysctl -n net.ipv4.tcp_congestion_control)\",\"icount\":${UWWAN_CONTEST_ICOUNT:-false},\"redir\":${UWWAN_CONTEST_REDIR:-false}"
if [[ $redir ]]; then
  # The clock out there is far ahead of one that counts instructions: each segment of a window would
  # bear another time, as on a very slow link, and those with different timestamps are not merged.
  [[ ${UWWAN_CONTEST_ICOUNT:-false} != true ]] || sysctl -qw net.ipv4.tcp_timestamps=0
  check 'the modem is on the xHCI controller' wait_for 60 find_modem || finish
else
  check 'the far machine serves' start_far_side || finish
fi
# Every file used below is read once, so that no contender pays for that.
ping -c 1 127.0.0.1 >/dev/null
if [[ ! $redir ]]; then
  far iperf3 --client 127.0.0.1 --time 1 --json | jq . >/dev/null
  mapfile -t servers < <(ip netns pids far)
  belongs far "${servers[@]}"
fi
for ((round = 1; round <= rounds; round++)); do
  for machine in "${machines[@]}"; do
    for name in "${contenders[@]}"; do
      # A cable is measured with one kind of far machine.
      [[ $machine == tun || $name != veth ]] || continue
      visit "$name"
    done
  done
done
finish
