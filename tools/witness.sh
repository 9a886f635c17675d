# shellcheck shell=bash
# Functions that every witness script (tests/guest/*.sh, run inside tools/guest)
# shares by sourcing this file. A witness prints one line for each check:
#
#   ok - NAME
#   not ok - NAME: WHY
#
# and ends with 'finish', which exits non-zero if anything was not ok.
# tools/test counts these lines, nothing else that a witness prints.

if [[ ! ${UWWAN_GUEST:-} ]]; then
  echo "${0##*/} changes the machine it runs on; start it as: tools/guest -- $0" >&2
  exit 2
fi

witness_failures=0

ok() { echo "ok - $1"; }

not_ok() { # name, why
  echo "not ok - $1: ${2:-no reason given}"
  witness_failures=$((witness_failures + 1))
}

# check NAME COMMAND…: ok if the command succeeds; its last output is the why.
# The command runs in this shell, so it may set variables and leave processes running.
check() {
  local name=$1 words result=0
  words=$(mktemp)
  shift
  "$@" >"$words" 2>&1 || result=$?
  if ((result == 0)); then
    ok "$name"
  else
    not_ok "$name" "'$*' ended with $result: $(tail -n 3 "$words" | tr '\n' ' ')"
  fi
  rm -f "$words"
  return "$result"
}

# wait_for SECONDS COMMAND…: repeats the command until it succeeds.
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

# Starts the system bus where programs look for it.
start_dbus() {
  mkdir -p /run/dbus
  dbus-uuidgen --ensure
  dbus-daemon --system --fork --nopidfile
}

on_bus() { # name
  dbus-send --system --print-reply --dest=org.freedesktop.DBus / \
    org.freedesktop.DBus.NameHasOwner "string:$1" | grep -q 'boolean true'
}

# ModemManager on the system bus, its log in FILE; returns once it answers.
start_modemmanager() { # log file
  local log=$1
  [[ -S /run/dbus/system_bus_socket ]] || start_dbus
  # ModemManager asks it whether root may; the bus starts nothing by itself here.
  if ! on_bus org.freedesktop.PolicyKit1; then
    /usr/lib/polkit-1/polkitd --no-debug >"$log.polkitd" 2>&1 &
    wait_for 30 on_bus org.freedesktop.PolicyKit1
  fi
  ModemManager --debug >"$log" 2>&1 &
  wait_for 30 mmcli --list-modems
}

finish() {
  ((witness_failures == 0))
  exit
}
