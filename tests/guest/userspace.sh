#!/usr/bin/env bash
# 'uwwan up --net userspace' by a user without any capability: unmodified programs reach the far
# machine through its proxies and forwarded ports, namely ssh through nc, curl by SOCKS and HTTP,
# and dig over UDP and TCP. The machine's routes stay as they are, and no name reaches its own
# resolver. Then the same user runs 'uwwan exec': bash, curl and iperf3 with the modem as their only
# network.
# packages: openssh-server openssh-client netcat-openbsd bind9-dnsutils curl dnsmasq-base busybox tcpdump
# guest: --cpus 1 --timeout 900
# shellcheck disable=SC2317,SC2119 # 'check' calls the functions; some do without arguments
# shellcheck source-path=SCRIPTDIR/../.. source=tests/guest/parts/all.sh
. "$(dirname "$0")/parts/all.sh"

user=65534 home=/tmp/user
mkdir -p "$home/run"

# These are the servers of the far machine: names, files over HTTP, a shell.
start_servers() {
  far dnsmasq --port=53 --listen-address="$name_server" --bind-interfaces --no-resolv --no-hosts \
    --user=root --pid-file=/tmp/dnsmasq.pid --address="/far.test/$far_address" --address="/far.test/$far_address6"
  mkdir -p /tmp/www /run/sshd
  cp /tmp/file /tmp/www/file
  far busybox httpd -p "[::]:8000" -h /tmp/www
  ssh-keygen -q -t ed25519 -N '' -f /tmp/host_key
  ssh-keygen -q -t ed25519 -N '' -f "$home/key"
  mkdir -p /root/.ssh
  chmod 700 /root /root/.ssh
  cp "$home/key.pub" /root/.ssh/authorized_keys
  chmod 600 /root/.ssh/authorized_keys
  # The package's script would have made this directory.
  grep -q '^sshd:' /etc/passwd || echo 'sshd:x:101:65534::/run/sshd:/usr/sbin/nologin' >>/etc/passwd
  far /usr/sbin/sshd -f /dev/null -h /tmp/host_key -o PidFile=/tmp/sshd.pid -o StrictModes=no -o PermitRootLogin=yes -p 22
  # A server takes one client at a time, and learns late of the end of one whose session has ended.
  far iperf3 --server --daemon
  far iperf3 --server --daemon --port 5202
  wait_for 10 servers_listen
}

servers_listen() {
  local listening port
  listening=$(far ss -Hltn)
  for port in 22 53 5201 5202 8000; do
    [[ $listening == *":$port "* ]] || return 1
  done
}

# network: prints addresses and routes of this machine, except for the interfaces of the kernel's
# drivers.
network() {
  ip -brief addr | grep -v "^wwan\|^usb\|^eth" || true
  ip route show table all
  ip -6 route show table all
  cat /etc/resolv.conf
}

# same_file COMMAND…: succeeds when the command prints the far machine's file.
same_file() { [[ $("$@" | sha256sum) == "$(sha256sum </tmp/file)" ]]; }

# by_curl OPTION…: runs curl without this machine's settings.
by_curl() { curl --disable --silent --show-error --max-time 120 "$@"; }

# in_exec COMMAND…: runs a command whose only network is the modem.
in_exec() { "${as[@]}" "$program" exec --apn internet --ip-type ipv4v6 --timeout 60 -- "$@"; }

# by_ssh NC-OPTION… : prints the output of 'cat /tmp/file' on the far machine.
by_ssh() {
  ssh -F none -i "$home/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
    -o ConnectTimeout=60 -o ProxyCommand="nc.openbsd $* %h %p" root@far.test 'cat /tmp/file'
}

# says TEXT COMMAND…: succeeds when the command prints the text as a line.
says() {
  local text=$1
  shift
  "$@" | grep -qxF -- "$text"
}

# by_dig OPTION…: asks for a name of the far machine at the forwarded port.
by_dig() { dig +short +time=20 +tries=1 -p 5353 @127.0.0.1 far.test "$@"; }

# asked: prints the number of packets that this machine's own resolver has received.
asked() { tcpdump -Z root -n -r "$logs/names.pcap" 2>/dev/null | wc -l; }

was_asked() { (($(asked) > 0)); }

modprobe -a vhci-hcd cdc_ether cdc_mbim option tun
ip link set lo up
check 'the far machine serves' start_far_side
check 'the far machine serves names, files and a shell' start_servers
check 'the emulated modem is plugged in' start_emulator far0 --attach --knob ipv6=on
check 'the kernel finds it' wait_for 10 find_modem
check 'the drivers are bound' wait_for 10 drivers_are 'cdc_ether option'
echo 'nameserver 127.0.0.1' >/etc/resolv.conf
network_before=$(network)
tcpdump -Z root --interface any --immediate-mode -n -U -w "$logs/names.pcap" port 53 2>"$logs/tcpdump.log" &
capture=$!
check 'names are watched' wait_for 20 grep -q listening "$logs/tcpdump.log"

chown -R "$user:$user" "$home"
chmod 600 "$home/key"
chown "$user" "$(node)"
as=(setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all --bounding-set=-all
  env XDG_RUNTIME_DIR="$home/run" UWWAN_STATE_DIR="$home/run")
launch_up --apn internet --ip-type ipv4v6 --net userspace --socks 1080 --http-proxy 8080 \
  --forward "5353=$name_server:53" --forward "udp:5353=$name_server:53" --forward "9000=[$far_address6]:9000"
wait_online 'online without any capability' 60
check 'it has none' test "$(field_of "$up_pid" CapEff)" = 0000000000000000
check 'addresses, routes and name servers are as before' test "$(network)" = "$network_before"

for proxy in socks5h://127.0.0.1:1080 http://127.0.0.1:8080; do
  check "curl: a file by name, $proxy" same_file by_curl --proxy "$proxy" http://far.test:8000/file
  check "curl: by an IPv6 address, $proxy" same_file by_curl --proxy "$proxy" "http://[$far_address6]:8000/file"
done
check 'curl: CONNECT' same_file by_curl --proxy http://127.0.0.1:8080 --proxytunnel http://far.test:8000/file
check 'curl: no such name' fails_with 97 by_curl --proxy socks5h://127.0.0.1:1080 http://nowhere.test/
check 'ssh: nc -X 5' same_file by_ssh -X 5 -x 127.0.0.1:1080
check 'ssh: nc -X connect' same_file by_ssh -X connect -x 127.0.0.1:8080
check 'dig: UDP' says "$far_address" by_dig A
check 'dig: TCP' says "$far_address" by_dig +tcp A
check 'dig: IPv6' says "$far_address6" by_dig AAAA
check 'a forwarded port' same_file timeout 60 socat -u TCP:127.0.0.1:9000 STDOUT
check 'uwwan resolve' says "$far_address" "${as[@]}" "$program" resolve far.test
check 'uwwan ping' "${as[@]}" "$program" ping --interval 0.2 far.test
check 'uwwan ping: IPv4' "${as[@]}" "$program" ping -4 --count 1 far.test
check 'no name has reached the resolver of this machine' test "$(asked)" = 0
check 'the watch sees names' fails_with 2 timeout 20 getent hosts control.test
check 'and saw that one' wait_for 10 was_asked

unplug 0
check 'the plug is pulled' wait_for 10 modem_gone
check 'it is back' wait_for 30 find_modem
chown "$user" "$(node)"
wait_online 'online after a replug' 60 2
check 'after a replug: curl' same_file by_curl --proxy socks5h://127.0.0.1:1080 http://far.test:8000/file
check 'stop: down' "${as[@]}" "$program" down --timeout 20
check 'stop: up ends with status 0' wait "$up_pid"
check 'exec: curl in bash, by name' same_file in_exec bash -c \
  'curl --disable --silent --show-error --max-time 120 http://far.test:8000/file'
check 'exec: iperf3 up' in_exec iperf3 --client "$far_address" --time 2
check 'exec: iperf3 down, IPv6' in_exec iperf3 --client "$far_address6" --port 5202 --time 2 --reverse
check 'exec: the status is the program'"'"'s' fails_with 7 in_exec bash -c 'exit 7'
kill "$capture" || true
check 'at the end: addresses, routes and name servers are as before' test "$(network)" = "$network_before"
judge_emulator far0
finish
