#!/usr/bin/env bash
# The Debian package under systemd: installed by dpkg, used as its user meets it (demo, pages, completion, a
# service on the emulated modem over the guest's USB stack), installed anew over a running service, removed,
# purged: nothing is left. Then 'make install' and 'make uninstall'.
# packages: systemd-sysv dbus man-db make
# guest: --systemd --cpus 1 --timeout 900
# package: of the program under test, in UWWAN_PACKAGE
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

package=${UWWAN_PACKAGE:?names the Debian package to try}
# From here on, the installed program is the one that is tried.
installed=/usr/bin/uwwan

# The guest's packages are unpacked, and dpkg knows of none. It is told of those on which the
# package depends, with the versions that are there.
know_packages() {
  mkdir -p /var/lib/dpkg/{info,updates,triggers,parts}
  touch /var/lib/dpkg/available
  local name version
  while read -r name version; do
    printf '%s\n' "Package: $name" 'Status: install ok installed' 'Maintainer: Debian' \
      "Architecture: $(dpkg --print-architecture)" "Version: $version" 'Description: of the guest' ''
  done >/var/lib/dpkg/status <<KNOWN
libc6 $(getconf GNU_LIBC_VERSION | awk '{ print $2 }')
libgcc-s1 $(basename "$(realpath /usr/lib/x86_64-linux-gnu/libstdc++.so.6)" | sed 's/.*so\.6\.0\.\(.*\)/12.\1/')
systemd $(systemctl --version | awk 'NR == 1 { print $2 }')
KNOWN
}

# everything [TEST…]: prints every file and directory for which find's test is true, and the users
# and groups, without what the machine itself writes meanwhile.
everything() {
  find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/log -o -path /var/lib/dpkg \
    -o -path /var/lib/systemd -o -path /var/cache -o -path "$logs" \) -prune -o "${@:--true}" -print |
    grep -vE '^/etc/(\.pwd\.lock|(passwd|group|shadow|gshadow)-?)$|^/var/lib$' | sort
  sort /etc/passwd
  sort /etc/group
  find /run -maxdepth 1 -name 'uwwan*'
}

# unchanged [TEST…]: succeeds when nothing has changed since 'before'.
unchanged() {
  everything "$@" >/tmp/after
  diff /tmp/before /tmp/after
}

property() { systemctl show --property="$1" --value uwwan@modem; }

active() { [[ $(property ActiveState) == active ]]; }

online() { [[ $("$installed" status --device "$(port)" --json | jq .online) == true ]]; }

# again PROCESS: succeeds when another process runs the service, and is online.
again() {
  local now
  now=$(property MainPID)
  ((now != 0 && now != $1)) && active && online
}

gone() { [[ $(property ActiveState) != active ]]; }

# owned_by NAME PATH…: succeeds when everything there belongs to that user.
owned_by() {
  local name=$1 path
  shift
  for path in "$@"; do [[ $(stat -c %U "$path") == "$name" ]] || return 1; done
}

# completes WORD: succeeds when bash, with the installed script, offers the word.
completes() {
  # shellcheck disable=SC2016 # for the other bash
  bash -c '. /usr/share/bash-completion/completions/uwwan
    COMP_WORDS=(uwwan "$1") COMP_CWORD=1 COMP_TYPE=9
    _clap_complete_uwwan uwwan "$1" uwwan; printf "%s\n" "${COMPREPLY[@]}"' bash "${1:0:4}" | grep -qx "$1"
}

# documented: succeeds when the Documentation= of the unit names files that exist.
documented() {
  local page section
  for page in $(property Documentation | tr -d '"'); do
    page=${page#man:} section=${page##*[(]}
    man -w "${section%)}" "${page%[(]*}" || return 1
  done
}

verified() { systemd-analyze verify uwwan@modem.service 2>&1 | tee /dev/stderr | grep -c 'uwwan@' | grep -qx 0; }

journal() { journalctl --no-pager -u uwwan@modem | tail -n 20; }

modprobe -a vhci-hcd cdc_ether cdc_mbim option tun
check 'dpkg is told what there is' know_packages
# The guest's packages come without their documentation, and dpkg removes an empty directory.
touch /usr/share/{doc,man}/of-others
everything >/tmp/before

check 'it is installed' dpkg --install "$package"
check 'the program is there' test -x "$installed"
check 'its symbols are not in it' test "$(stat -c %s "$installed")" -lt "$(stat -c %s "$program")"
check 'the user is made' id uwwan
check 'its directories are made' owned_by uwwan /run/uwwan /var/lib/uwwan
check 'a page of the manual' man -w uwwan-up
check 'a page of the configuration' man -w 5 uwwan.toml
check 'bash completes' completes status
check 'demo works' timeout 300 "$installed" demo --bytes 1M
check 'the manager finds nothing wrong with the unit' verified
check 'the unit names pages that are there' documented

check 'the far machine serves' start_far_side
# The modem's own socket is elsewhere, because the package's directory is the service's.
export UWWAN_RUNTIME_DIR=/run/witness
check 'a modem is plugged in' start_emulator far0 --attach
unset UWWAN_RUNTIME_DIR
check 'the kernel finds it' wait_for 20 find_modem
check 'the rule gives it to the group' wait_for 20 test "$(stat -c %G "$(node)")" = plugdev
check 'the example becomes the configuration' \
  install -m 644 /usr/share/doc/uwwan/examples/modem.toml /etc/uwwan/modem.toml
sed -i -e '/^dns/d' -e "s,^route = .*,route = \"$far_prefix\"," /etc/uwwan/modem.toml
check 'the service is enabled and starts' timeout 120 systemctl enable --now uwwan@modem || journal
check 'it is online' online
pings 'the service' "$far_address"

main=$(property MainPID)
check 'it is installed anew' dpkg --install "$package"
check 'the service runs the new program' wait_for 60 again "$main" || journal
check 'the configuration is kept' grep -q "$far_prefix" /etc/uwwan/modem.toml

check 'it is removed' dpkg --remove uwwan
check 'the service has ended' wait_for 60 gone
check 'the program is gone' test ! -e "$installed"
check 'the configuration is not' test -e /etc/uwwan/modem.toml
check 'it is purged' dpkg --purge uwwan
check 'nothing is left' unchanged
judge_emulator far0

everything -type f >/tmp/before
check 'make install' make install "BINARY=$program" PREFIX=/opt/uwwan
check 'the program is there, too' /opt/uwwan/bin/uwwan --version
check 'make uninstall' make uninstall PREFIX=/opt/uwwan
check 'no file is left' unchanged -type f
finish
