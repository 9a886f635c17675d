#!/usr/bin/env bash
# A machine on which NetworkManager, ModemManager and usb_modeswitch run, as on most. They bring the
# modem online; 'uwwan up' takes it over, ModemManager keeps away meanwhile, and both have it back
# afterwards, by the kernel's drivers in the configuration in which they had it: after 'down', and
# after the driver was killed. The same is tried with the packaged unit, and with an ordinary user
# whom ModemManager does not obey. Then 'up' runs first, and the modem is plugged in after it.
# packages: systemd-sysv dbus modemmanager network-manager usb-modeswitch polkitd
# guest: --systemd --cpus 1 --timeout 900
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

# kernels: succeeds when the kernel's drivers have the modem in the configuration that
# usb_modeswitch selects.
kernels() { find_modem && configuration_is 3 && drivers_are 'cdc_mbim option'; }

# Prints the modems that ModemManager offers, one on each line.
offered() { mmcli -L | grep -o '/org/freedesktop/ModemManager1/Modem/[0-9]*'; }

none_offered() { mmcli -L && ! offered; }

# connected: succeeds when NetworkManager is online with the modem.
connected() { [[ $(nmcli -g GENERAL.STATE connection show lte) == activated ]]; }

# switched TIMES: succeeds when usb_modeswitch was started by its rule that often.
switched() { (($(journalctl --no-pager -o cat -u 'usb_modeswitch@*' | grep -c '^Starting') >= $1)); }

manager_is() { stated ".modem_manager.state == \"$1\""; }

# Prints what 'status' says of ModemManager, for the log.
manager() { echo "# manager $("$program" status --json | jq -c .modem_manager)"; }

# asks_as_uwwan: the service's user asks ModemManager to keep away from a modem that does not exist,
# and gets the answer that there is none.
asks_as_uwwan() {
  local said
  said=$(setpriv --reuid=uwwan --regid=uwwan --clear-groups busctl call org.freedesktop.ModemManager1 \
    /org/freedesktop/ModemManager1 org.freedesktop.ModemManager1 InhibitDevice sb /sys/none true 2>&1)
  echo "$said"
  [[ $said == *'No device found'* ]]
}

# is_small PROCESS…: succeeds when the processes of 'up' together have at most 12 MiB resident (each
# page divided by the number of processes that have it), of which no file backs more than 6 MiB. The
# program must be a release build, because one without optimisation has more. The emulated modem is
# another copy of the program, with which it shares no page.
all='' own=''
is_small() {
  read -r all own < <(cat "${@/%//smaps_rollup}" |
    awk '/^Pss:/ { all += $2 } /^Pss_Anon:/ { own += $2 } END { print all, own }')
  ((own > 0 && own <= 6144 && all <= 12288))
}

# unmanaged INTERFACE: succeeds when NetworkManager leaves the interface alone; looked_after
# INTERFACE: succeeds when it does not.
unmanaged() { [[ $(nmcli -g GENERAL.STATE device show "$1") == *unmanaged* ]]; }
looked_after() { [[ $(nmcli -g GENERAL.STATE device show "$1") == *connected* ]]; }

# has_it NAME: checks that NetworkManager is online, and that packets flow.
has_it() {
  check "$1: ModemManager offers the modem" wait_for 60 offered
  check "$1: NetworkManager is online" wait_for 180 connected || {
    nmcli device
    journalctl --no-pager -u ModemManager -u NetworkManager | tail -n 400
  } >"$logs/trouble"
  pings "$1" "$gateway"
}

# taken NAME: checks that 'up' has the modem to itself.
taken() {
  wait_online "$1: up is online" 60
  check "$1: ModemManager offers no modem" wait_for 20 none_offered
  pings "$1: through up" "$far_address"
}

# given NAME: checks what 'up' says at its end, and that it is so.
given() {
  check "$1: the event tells the drivers" seen \
    '.event == "given-back" and .configuration == 3 and ([.drivers[].driver] | unique) == ["cdc_mbim", "option"]'
  check "$1: the kernel's drivers have it" wait_for 10 kernels
}

packaging=$(realpath "$(dirname "$0")/../../packaging")
mkdir -p /etc/NetworkManager/conf.d
printf '%s\n' '[main]' 'no-auto-default=*' '[keyfile]' 'unmanaged-devices=except:type:gsm,except:type:tun' \
  >/etc/NetworkManager/conf.d/witness.conf
install -m 644 "$packaging/uwwan-networkmanager.conf" /etc/NetworkManager/conf.d/
modprobe -a vhci-hcd cdc_ether cdc_mbim option tun
# The folder is as its package leaves it.
install -d -o polkitd -m 755 /etc/polkit-1/rules.d
install -m 644 "$packaging/50-uwwan.rules" /etc/polkit-1/rules.d/
check 'polkit runs' timeout 60 systemctl start polkit
check 'ModemManager runs' timeout 60 systemctl start ModemManager
check 'NetworkManager runs' timeout 60 systemctl start NetworkManager
check "the service's user is made" systemd-sysusers "$packaging/uwwan.sysusers.conf"
check "the service's user may not ask ModemManager" eval '! asks_as_uwwan'
install -D -m 644 "$packaging/uwwan-modemmanager.conf" /etc/dbus-1/system.d/uwwan-modemmanager.conf
check 'the bus reads its policy' systemctl reload dbus
check 'with the packaged files it may' wait_for 20 asks_as_uwwan
check 'a connection is made' nmcli connection add type gsm ifname '*' con-name lte apn internet
check 'the far machine serves' start_far_side
check 'the emulated modem is plugged in' start_emulator far0 --attach
check "usb_modeswitch's rule fires" wait_for 30 switched 1
check 'it has selected configuration 3' wait_for 90 kernels
has_it 'first'

start_up
taken 'up'
# The answer of a busy ModemManager is not waited for: a notice says so, and the answer comes later.
check 'up: ModemManager was asked to keep away' seen \
  '.event == "notice" and (.text | contains("InhibitDevice") or contains("not answered yet"))'
check 'up: status says so' wait_for 60 manager_is inhibited
echo "# processes $("$program" status --json | jq -c .processes)"
echo "# monitor $(grep -E 'VmRSS|Threads' "/proc/$up_pid/status" | xargs) driver $(grep VmRSS "/proc/$(driver_of_up)/status" | xargs)"
ip tuntap add dev witness0 mode tun
ip addr add 192.0.2.201/32 dev witness0
ip link set witness0 up
check 'up: NetworkManager looks after an interface of another name' wait_for 20 looked_after witness0
tun=$("$program" status --json | jq -r .interface.name)
check 'up: and leaves ours alone' unmanaged "$tun"
ip link del witness0
check 'up: ModemManager is started anew' timeout 60 systemctl restart ModemManager
check 'up: it does not know the modem, which no kernel driver has' wait_for 60 manager_is unaware
manager
pings 'up: beside the new one' "$far_address"
stop_up 'down'
given 'down'
has_it 'down'

start_up
taken 'again'
{ kill -KILL "$(driver_of_up)" && wait "$up_pid"; } 2>/dev/null
check "killed: the kernel's drivers have it" wait_for 10 kernels
check 'killed: the monitor says so' grep -q "kernel's again" "$errors"
has_it 'killed'
# The unit runs as its user, who may ask ModemManager by the packaged files.
install -D -m 755 "$program" /usr/local/bin/uwwan
install -D -m 644 "$packaging/uwwan@.service" /etc/systemd/system/uwwan@.service
install -D -m 644 "$packaging/70-uwwan.rules" /etc/udev/rules.d/70-uwwan.rules
mkdir -p /etc/uwwan
printf '%s\n' "device = \"$(port)\"" 'apn = "internet"' 'proxy = "private"' "route = \"$far_prefix\"" >/etc/uwwan/modem.toml
systemctl daemon-reload
udevadm control --reload
udevadm trigger --settle "$modem"
check 'unit: it starts' timeout 120 systemctl start uwwan@modem || journalctl --no-pager -u uwwan@modem | tail -n 20
check 'unit: ModemManager offers no modem' wait_for 20 none_offered
check 'unit: ModemManager was asked to keep away' wait_for 60 manager_is inhibited
check 'unit: its user asked' stated "all(.processes[]; .uid == $(id -u uwwan))"
echo "# processes $("$program" status --json | jq -c .processes)"
pings 'unit: through up' "$far_address"
fetches 'unit: download' "$far_address"
mapfile -t processes < <("$program" status --json | jq -r '"/proc/\(.processes[].pid)"')
# Each minute the program releases memory that it does not need; this is what comes back with
# traffic alone.
patience=120 measure 'unit: traffic for more than a minute' "$far_address" --time 75
check 'unit: its memory is small' is_small "${processes[@]}"
echo "# proportional set size of the unit's processes: $all KiB, of which no file backs $own KiB"
check 'unit: it stops' timeout 60 systemctl stop uwwan@modem
check "unit: the kernel's drivers have it" wait_for 10 kernels
has_it 'unit'

# An ordinary user has the device by the udev rule, and an interface that root has prepared.
as=(setpriv --reuid=games --regid=games --groups=plugdev)
export UWWAN_RUNTIME_DIR=/run/games UWWAN_STATE_DIR=/run/games/state
install -d -o games -g games "$UWWAN_RUNTIME_DIR"
own=$program program=/usr/local/bin/uwwan
ip tuntap add dev own0 mode tun user games
ip addr add "$host_address/30" dev own0
ip link set own0 up
ip route add "$far_prefix" dev own0
launch_up --apn internet --tun-name own0
taken 'ordinary user'
check 'ordinary user: what ModemManager says is told' seen \
  '.event == "notice" and (.text | contains("ModemManager was not kept away from the modem"))'
check 'ordinary user: status says so' manager_is refused
manager
stop_up 'ordinary user'
given 'ordinary user'
as=() program=$own
unset UWWAN_RUNTIME_DIR UWWAN_STATE_DIR
ip link del own0
has_it 'ordinary user'
judge_emulator far0
check 'the plug is pulled' wait_for 10 modem_gone

fired=$(journalctl --no-pager -o cat -u 'usb_modeswitch@*' | grep -c '^Starting')
usb=nusb
start_up --wait
check 'up first: it waits' wait_for 60 seen '.event == "rung-failed" and .failure.rung == "found"'
check 'up first: the modem is plugged in' start_emulator far0 --attach
check "up first: usb_modeswitch's rule fires" wait_for 30 switched $((fired + 1))
taken 'up first'
stop_up 'up first'
find_modem
given 'up first'
has_it 'up first'
judge_emulator far0
finish
