# shellcheck shell=bash
# The modem as the guest's kernel shows it in sysfs. 'modem' is its directory there, which
# find_modem sets.

modem='' modem_product=a31d

# find_modem: finds the first modem with that product id on the bus, which is the lt4132's unless a
# witness says otherwise; fails while there is none.
find_modem() {
  local file
  for file in /sys/bus/usb/devices/*/idProduct; do
    [[ $(<"$file") != "$modem_product" ]] || {
      modem=${file%/idProduct}
      return
    }
  done 2>/dev/null
  return 1
}

modem_gone() { ! find_modem; }

port() { echo "${modem##*/}"; }

node() { printf '/dev/bus/usb/%03d/%03d\n' "$(<"$modem/busnum")" "$(<"$modem/devnum")"; }

# The attribute is empty while the device is unconfigured.
configuration() { cat "$modem/bConfigurationValue"; }

configuration_is() { [[ $(configuration) == "$1" ]]; }

configure() { echo "$1" >"$modem/bConfigurationValue"; }

# through_zero CONFIGURATION: switches the modem as owners do. In configuration 0 the firmware takes
# a while to settle (knob settle_ms), and nothing shows when it has.
through_zero() {
  configure 0
  sleep 0.5
  configure "$1"
}

# Prints the drivers bound to its interfaces, each once, on one line.
drivers() {
  local link
  for link in "$modem":*/driver; do
    [[ -e $link ]] && basename "$(readlink "$link")"
  done | sort -u | xargs
}

# holder INTERFACE: prints the driver bound to the interface in the active configuration, if any.
holder() {
  local link
  link=$(readlink "$modem:$(configuration).$1/driver") && basename "$link"
}

drivers_are() { [[ $(drivers) == "$1" ]]; }

# Prints the network interface that one of its interfaces has, if any.
modem_interface() {
  local directory
  for directory in "$modem":*/net/*; do
    [[ -e $directory ]] && basename "$directory" && return
  done
  return 1
}

# alternate INTERFACE: prints the active alternate setting of the interface.
alternate() { xargs <"$modem:$(configuration).$1/bAlternateSetting"; }

# unplug PORT: unplugs the device at a port of the virtual host controller.
unplug() { echo "$1" >/sys/devices/platform/vhci_hcd.0/detach; }

# Keeps the kernel from loading a driver by itself; modprobe by name still works.
forbid_modules() { printf 'blacklist %s\n' "$@" >/etc/modprobe.d/witness.conf; }


# at COMMAND: sends it to the modem's tty, open as descriptor 'tty', and prints
# the answer; fails without a final result.
tty=''
at() {
  local line
  printf '%s\r' "$1" >&"$tty"
  while IFS= read -r -t 5 -u "$tty" line; do
    line=${line%$'\r'}
    echo "$line"
    case $line in
      OK | ERROR | '+CME ERROR'* | 'COMMAND NOT SUPPORT') return 0 ;;
    esac
  done
  return 1
}
