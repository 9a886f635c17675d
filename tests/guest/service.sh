#!/usr/bin/env bash
# The packaged unit under systemd, with its user and the packaged udev rule: started, used, crashed,
# restarted, stopped; two instances side by side, each with a modem of its own.
# packages: systemd-sysv dbus systemd-resolved gdb
# guest: --systemd --cpus 1 --timeout 900
# Its log lines are in the journal with priorities and fields, its hooks run, and its data use is
# kept. Then root's own 'up' runs with systemd-resolved, and with systemd-networkd, which takes
# every interface that it is not kept from.
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

packaging=$(dirname "$0")/../../packaging

# configured NAME PORT [LINE]: writes the configuration of an instance for the modem at a port.
configured() {
  printf '%s\n' "device = \"$2\"" 'apn = "internet"' 'proxy = "private"' "${3:-}" >"/etc/uwwan/$1.toml"
}

property() { systemctl show --property="$2" --value "uwwan@$1"; }

active() { [[ $(property "$1" ActiveState) == active ]]; }

main_pid() { property "$1" MainPID; }

# again NAME PORT PROCESS: succeeds when another process runs the instance, and is online.
again() {
  local now
  now=$(main_pid "$1")
  ((now != 0 && now != $3)) && active "$1" && of_status "$2" .online
}

# fed_since NAME TIME: succeeds when the watchdog was fed after that time.
fed_since() { (($(property "$1" WatchdogTimestampMonotonic) > $2)); }

# lt4132s: prints the ports of all modems, one on each line.
lt4132s() {
  local file
  for file in /sys/bus/usb/devices/*/idProduct; do
    [[ $(<"$file") != a31d ]] || basename "${file%/idProduct}"
  done
}

# node_of PORT: prints the node of the device at a port.
node_of() { modem=/sys/bus/usb/devices/$1 node; }

two() { (($(lt4132s | wc -l) == 2)); }

# of_process NAME FIELD: prints a field of the status file of an instance's main process.
of_process() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$(main_pid "$1")/status"; }

# of_status NAME FILTER: succeeds when jq's filter is true of the output of 'status --json'.
of_status() {
  local said
  said=$("$program" status --device "$1" --json)
  # jq succeeds on empty input.
  if [[ -z $said ]] || ! jq -e "$2" <<<"$said" >/dev/null; then
    echo "$said"
    return 1
  fi
}

# as_nobody ARGUMENT…: runs the program as a user without any permission.
as_nobody() { setpriv --reuid=nobody --regid=nogroup --clear-groups timeout 30 /usr/local/bin/uwwan "$@"; }

refused_to_nobody() {
  as_nobody "$@"
  (($? == 5))
}

# told_the_group ARGUMENT…: succeeds when a user with read access only is refused, and told who may
# do more.
told_the_group() {
  local said result=0
  said=$(as_nobody "$@" 2>&1) || result=$?
  [[ $result == 5 && $said == *'group uwwan'* && $said == *usermod* ]] || {
    echo "$result: $said"
    return 1
  }
}

# as_member ARGUMENT…: runs the program as a member of the group of operators.
as_member() { setpriv --reuid=games --regid=games --groups=uwwan timeout 30 /usr/local/bin/uwwan "$@"; }

# told_who_may ARGUMENT…: succeeds when a member's command is refused with the owner's name and
# without advice to force it.
told_who_may() {
  local said
  if said=$(as_member "$@" 2>&1); then return 1; fi
  [[ $said == *"root, user $(id -u uwwan) (who started it)"* && $said != *'the same with --force'* ]] || {
    echo "$said"
    return 1
  }
}

exposure() {
  local said
  said=$(systemd-analyze security --offline=true --threshold=20 --no-pager "$packaging/uwwan@.service") || {
    echo "$said" | tail -n 3
    return 1
  }
  exposed=$(grep -o 'level for.*' <<<"$said")
}

# in_journal FILTER: succeeds when jq's filter is true of an entry of the first instance.
in_journal() {
  journalctl --no-pager -o json -u uwwan@first | jq -es "any(.[]; $1)" >/dev/null || {
    journalctl --no-pager -o json -u uwwan@first | tail -n 3
    return 1
  }
}

# hooked MOMENT…: succeeds when the hooks have run at these moments, in this order.
hooked() {
  local said
  said=$(cut -d' ' -f1 /var/lib/uwwan/said | tr '\n' ' ')
  [[ $said == "$* " ]] || {
    cat /var/lib/uwwan/said
    return 1
  }
}

# used FILTER: succeeds when jq's filter is true of the output of 'usage --json'.
used() {
  "$program" usage --json | jq -e "$1" >/dev/null || {
    "$program" usage
    return 1
  }
}

# resolved_has INTERFACE: succeeds when systemd-resolved has name servers of the interface.
resolved_has() {
  resolvectl dns "$1" | grep -qE ': [0-9a-f]+[.:]' || {
    resolvectl dns
    return 1
  }
}

# from_inside NAME CALL…: prints the results of these system calls, one on each line, made by the
# process of an instance that reads what its modem sends. They are made with syscall(2), because the
# program has functions with the names of those of the C library.
from_inside() {
  local process
  process=$("$program" status --device "$1" --json | jq '.processes[] | select(.name != "monitor").pid')
  shift
  gdb --batch --nx -p "$process" -ex "set language c" -ex "set scheduler-locking on" \
    "${@/#/-ex=print (int)}" 2>&1 | tee -a "$logs/gdb" | sed -n 's/^\$[0-9]* = //p'
}

# reaches_nothing NAME OTHER OWN: succeeds when the process of an instance can open what it needs,
# and can open neither the nodes of another USB device, of a controller or of its own device, nor
# other files that it does not need.
reaches_nothing() {
  local nodes=("$2" /dev/bus/usb/001/001 "$3") opened answers
  ls "${nodes[@]}" || return 1
  # The calls are openat, socket, kill and execve (x86-64).
  local at='((long (*)())syscall)(257, -100, "'
  opened=("${nodes[@]/#/$at}")
  answers=$(from_inside "$1" "$at/dev/null\", 0) >= 0" \
    "${opened[@]/%/\", 2)}" \
    "$at/dev/net/tun\", 2)" "$at/etc/shadow\", 0)" "$at/dev/kmsg\", 0)" \
    '((long (*)())syscall)(41, 16, 3, 0)' '((long (*)())syscall)(41, 1, 1, 0)' \
    '((long (*)())syscall)(62, 1, 0)' '((long (*)())syscall)(59, "/bin/true", 0, 0)')
  [[ $(xargs <<<"$answers") == "1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1" ]] || {
    echo "$answers"
    return 1
  }
}

# managed INTERFACE: prints what systemd-networkd has made of an interface.
managed() { networkctl list --no-legend --no-pager "$1" | awk '{ print $5 }'; }

configured_by_networkd() { ip -o -4 addr show dev "$1" | grep -q 192.0.2.200; }

# applied INTERFACE: prints addresses and routes, without their lifetimes.
applied() { ip -o addr show dev "$1" | sed 's/ *valid_lft.*//' && ip route show dev "$1" && ip -6 route show dev "$1"; }

# The call is ptrace(PTRACE_ATTACH) of a process that does not exist (x86-64). It returns ESRCH
# where nothing refuses it.
trace='((long (*)())syscall)(101, 16, 0x3ffffff, 0, 0)'

# may_not_trace NAME: succeeds when the kernel refuses the call to the process of an instance with
# EPERM.
may_not_trace() {
  local answers
  answers=$(from_inside "$1" "$trace" '*((int *(*)())__errno_location)()')
  [[ $(xargs <<<"$answers") == '-1 1' ]] || {
    echo "$answers"
    return 1
  }
}

# ended_by_tracing NAME: succeeds when the filter of the unit, which is stricter, ends the process
# of an instance that makes the call.
ended_by_tracing() {
  from_inside "$1" "$trace"
  tail -n 8 "$logs/gdb" | grep -q SIGSYS
}

stopped() { [[ $(property "$1" ActiveState) == inactive && $(property "$1" Result) == success ]]; }

journal() { journalctl --no-pager -u "uwwan@$1" | tail -n 20; }

install -D -m 755 "$program" /usr/local/bin/uwwan
install -D -m 644 "$packaging/uwwan@.service" /etc/systemd/system/uwwan@.service
install -D -m 644 "$packaging/70-uwwan.rules" /etc/udev/rules.d/70-uwwan.rules
install -D -m 644 "$packaging/uwwan.sysusers.conf" /usr/lib/sysusers.d/uwwan.conf
mkdir -p /etc/uwwan
modprobe -a vhci-hcd cdc_ether cdc_mbim option tun
check 'the user is made' systemd-sysusers
check 'the manager reads the unit' systemctl daemon-reload
udevadm control --reload
exposed=''
check 'exposure is at most 2.0' exposure
echo "# exposure $exposed"

check 'the far machine serves' start_far_side
check 'a modem is plugged in' start_emulator far0 --attach
check 'the kernel finds it' wait_for 20 find_modem
first=$(port)
configured first "$first" "route = \"$far_prefix\""
cat >/etc/uwwan/hook <<'END'
#!/bin/sh
echo "$UWWAN_HOOK $UWWAN_DEVICE ${UWWAN_INTERFACE:-none} ${UWWAN_IPV4:-none} $(id -un)" >>/var/lib/uwwan/said
END
chmod 755 /etc/uwwan/hook
cat >>/etc/uwwan/first.toml <<'END'
quota = "1k"
[hooks]
before-up = ["hook"]
after-up = ["hook"]
before-down = ["hook"]
after-down = ["hook"]
END
# With Type=notify, 'start' returns when the service is online.
check 'it starts' timeout 120 systemctl start uwwan@first || journal first
check 'it is active' active first
check 'its user is uwwan' test "$(of_process first Uid | cut -f1)" = "$(id -u uwwan)"
check 'status: online' of_status "$first" .online
check 'status: every process is confined' of_status "$first" \
  '.processes | length > 0 and all(.no_new_privs and .seccomp)'
check 'status: the driver has no capability' of_status "$first" \
  '.processes[] | select(.name == "driver") | .capabilities == "0000000000000000"'
check 'root is its owner, too' "$program" pin status --device "$first"
check 'everyone may look' as_nobody status --device "$first"
check 'but not stop it' refused_to_nobody down --device "$first"
check 'nor use it, and is told the group that may' told_the_group radio off --device "$first"
check 'members of the group uwwan may use it' as_member info --device "$first"
check 'but not end its session, and are told who may' told_who_may radio off --device "$first"
tun=$("$program" status --device "$first" --json | jq -r .interface.name)
echo "# processes $("$program" status --device "$first" --json | jq -c .processes)"
pings 'the first' "$far_address"
fetches 'download' "$far_address"

check 'journal: a rung, with device and priority' in_journal \
  ".UWWAN_RUNG == \"sim\" and .UWWAN_DEVICE == \"$first\" and .PRIORITY == \"6\""
check 'journal: session 0 is online' in_journal \
  '.UWWAN_SESSION == "0" and .PRIORITY == "5" and (.MESSAGE | startswith("online through"))'
check 'hooks: before and after up' wait_for 20 hooked before-up after-up
check 'hooks: with the facts' grep -qE "^after-up $first $tun [0-9.]+/[0-9]+ uwwan\$" /var/lib/uwwan/said

main=$(main_pid first)
check 'it crashes' kill -KILL "$main"
check 'it is restarted, and online' wait_for 60 again first "$first" "$main" || journal first
pings 'restarted' "$far_address"
main=$(main_pid first)
mkdir -p /etc/systemd/system/uwwan@first.service.d
printf '%s\n' '[Service]' 'WatchdogSec=30' >/etc/systemd/system/uwwan@first.service.d/watchdog.conf
check 'the manager reads a shorter watchdog' systemctl daemon-reload
check 'restarted by hand' timeout 120 systemctl restart uwwan@first
check 'another process runs it' again first "$first" "$main"
for _ in 1 2 3; do
  fed=$(property first WatchdogTimestampMonotonic)
  check 'it feeds the watchdog' wait_for 60 fed_since first "$fed"
done
main=$(main_pid first)
check 'it hangs' kill -STOP "$main"
check 'it is ended and restarted, and online' wait_for 150 again first "$first" "$main" || journal first

check 'a second modem is plugged in' start_emulator far1 --attach --far-side builtin
check 'the kernel finds both' wait_for 20 two
second=$(lt4132s | grep -vx "$first")
configured second "$second"
check 'a second instance starts' timeout 120 systemctl start uwwan@second || journal second
check 'both are online' of_status "$first" .online
check 'the second one, too' of_status "$second" .online
# The watchdog of the first instance does not wait for a debugger.
check 'taken over, the second one reaches no other device' reaches_nothing second "$(node_of "$first")" "$(node_of "$second")"
check 'and goes on' of_status "$second" .online
main=$(main_pid second)
check 'a call of ptrace ends it' ended_by_tracing second
check 'it is restarted, and online, too' wait_for 60 again second "$second" "$main" || journal second
check 'the second stops' timeout 60 systemctl stop uwwan@second
check 'cleanly' stopped second
check 'the first goes on' of_status "$first" .online
fetches 'before the end' "$far_address"

rm /var/lib/uwwan/said
check 'it stops' timeout 60 systemctl stop uwwan@first
check 'cleanly, too' stopped first
check 'hooks: before and after down' hooked before-down after-down
check 'data use is kept' used '.months[0] | .downlink_bytes > 100000 and (.device | endswith("'"$first"'"))'
check 'journal: the quota is passed' in_journal '.PRIORITY == "4" and (.MESSAGE | contains("--quota"))'
check 'its interface is gone' test ! -e "/sys/class/net/$tun"
check 'no control socket is left' test -z "$(compgen -G '/run/uwwan/*/control')"

# The directory stays that of the service, and root's 'up' works there as the service's user.
check 'the directory of sockets is that user'"'"'s' test "$(stat -c %U /run/uwwan)" = uwwan
systemctl start systemd-resolved
start_up --device "$first" --dns resolved
wait_online 'by root: online' 40
tun=$("$program" status --device "$first" --json | jq -r .interface.name)
check 'by root: resolved has the name servers' resolved_has "$tun"
check 'by root: it is told' of_status "$first" '.interface.applied | any(contains("systemd-resolved"))'
# systemd-networkd configures every interface on this machine.
install -D -m 644 "$packaging/10-uwwan.network" /usr/lib/systemd/network/10-uwwan.network
mkdir -p /etc/systemd/network
printf '%s\n' '[Match]' 'Name=*' '[Link]' 'RequiredForOnline=no' '[Network]' 'DHCP=yes' 'ConfigureWithoutCarrier=yes' \
  'Address=192.0.2.200/24' >/etc/systemd/network/99-all.network
ip tuntap add dev witness0 mode tap
before=$(applied "$tun")
check 'networkd: it starts' systemctl start systemd-networkd
check 'networkd: it configures another interface' wait_for 30 configured_by_networkd witness0
check 'networkd: it leaves ours alone' test "$(managed "$tun")" = unmanaged
check 'networkd: addresses and routes are as they were' test "$(applied "$tun")" = "$before"
check 'networkd: packets flow' of_status "$first" .online
systemctl stop systemd-networkd.socket systemd-networkd
check 'by root: the driver is uwwan' test "$(field_of "$(driver_of_up)" Uid | cut -f1)" = "$(id -u uwwan)"
check 'by root: its directory, too' test "$(stat -c %U "/run/uwwan/$first")" = uwwan
echo "# processes $("$program" status --device "$first" --json | jq -c .processes)"
check 'by root: the driver may not call ptrace' may_not_trace "$first"
check 'by root: it goes on' of_status "$first" .online
check 'by root: the driver is killed' kill -KILL "$(driver_of_up)"
result=0
wait "$up_pid" || result=$?
check 'by root: its end is told' test "$result" = 137
check 'by root: nothing is left' test -z "$(ls -A /run/uwwan)"
judge_emulator far0
judge_emulator far1
finish
