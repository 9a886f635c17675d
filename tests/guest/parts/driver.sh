# shellcheck shell=bash
# 'uwwan up' under observation. Its events, one JSON object on each line, are in 'events', and its
# error output is in 'errors'. emulator.sh is needed.

: "${program:?}" "${logs:?}" "${far_prefix:?}"

events='' errors='' up_pid='' up_round=0

# start_up OPTION…: starts 'uwwan up' for a modem and returns at once. 'routes', if set, is the
# destination of its routes in place of the far machine, and 'usb' the backend.
start_up() { launch_up --apn internet --route "${routes:-$far_prefix}" ${usb:+--usb "$usb"} "$@"; }

# launch_up OPTION…: does the same for any device, with these options only. 'as', if set, is a
# command that runs it as another user.
as=()
launch_up() {
  up_round=$((up_round + 1))
  events=$logs/up-$up_round.events errors=$logs/up-$up_round.errors
  : >"$events"
  "${as[@]}" "$program" up --json "$@" >"$events" 2>"$errors" &
  up_pid=$!
}

# Prints the process that reads what the modem sends; 'up_pid' is its monitor.
driver_of_up() { pgrep --parent "$up_pid" --exact uwwan; }

# field_of PROCESS NAME: prints a field of /proc/PROCESS/status.
field_of() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }

# forgotten TEXT…: succeeds when none of the texts is in the memory of driver or monitor, as it is
# or in UTF-16LE.
forgotten() {
  local process
  for process in "$up_pid" "$(driver_of_up)"; do
    perl -e '
      my ($process, @texts) = @ARGV;
      open my $maps, "<", "/proc/$process/maps" or die "maps: $!\n";
      open my $memory, "<:raw", "/proc/$process/mem" or die "memory: $!\n";
      my ($read, $found) = (0, 0);
      while (<$maps>) {
        next unless /^([0-9a-f]+)-([0-9a-f]+) r/ and !/\[v/;
        my ($start, $length) = (hex $1, hex($2) - hex($1));
        sysseek $memory, $start, 0 or next;
        my $bytes = "";
        while (length $bytes < $length) {
          sysread($memory, $bytes, $length - length $bytes, length $bytes) or last;
        }
        $read += length $bytes;
        for my $text (@texts) {
          for my $form ($text, join("", map { "$_\0" } split //, $text)) {
            my $at = index $bytes, $form;
            next if $at < 0;
            print "$text in process $process: $_";
            $found = 1;
          }
        }
      }
      die "nothing was read\n" unless $read;
      exit $found;' "$process" "$@" || return 1
  done
}

# seen FILTER: succeeds when an event so far makes the jq filter true.
seen() { jq -se "any(.[]; $1)" "$events" >/dev/null; }

# stated FILTER: succeeds when jq's filter is true of the output of 'status --json'.
stated() {
  local said
  said=$("$program" status --json)
  # jq succeeds on empty input.
  if [[ -z $said ]] || ! jq -e "$1" <<<"$said" >/dev/null; then
    echo "$said"
    return 1
  fi
}

# times KIND: prints how many events of a kind there were so far.
times() { grep -c "\"event\":\"$1\"" "$events"; }

online_times() { (($(times online) >= $1)); }

lost_times() { (($(times lost) >= $1)); }

running() { kill -0 "$up_pid" 2>/dev/null; }

# It is online that many times, or it has given up.
online_or_ended() { online_times "$1" || ! running; }

# wait_online NAME SECONDS [TIMES]: ok once 'up' has said so.
wait_online() {
  local name=$1 patience=$2 wanted=${3:-1}
  wait_for "$patience" online_or_ended "$wanted"
  if online_times "$wanted"; then
    ok "$name ($(jq -r 'select(.event == "online") | "\(.interface), \(.seconds * 100 | round / 100) s"' "$events" | tail -n 1))"
  else
    not_ok "$name" "$(running && echo "still trying after $patience s" || echo "it ended"): $(why_not)"
    return 1
  fi
}

why_not() {
  { jq -r 'select(.event == "rung-failed") | .failure | "\(.rung): \(.what)"' "$events" | tail -n 2
    tail -n 5 "$errors"; } | tr '\n' ' '
}

tun() { jq -r 'select(.event == "online") | .interface' "$events" | tail -n 1; }

# stop_up NAME: runs 'uwwan down', and checks the exit status of 'up'.
stop_up() {
  local name=$1 result=0
  check "$name: down" "$program" down --timeout 20 || kill -KILL "$up_pid"
  wait "$up_pid" || result=$?
  if ((result == 0)); then
    ok "$name: up ends with status 0"
  else
    not_ok "$name: up ends with status 0" "status $result: $(why_not)"
  fi
}

# fails_with STATUS COMMAND…: the command fails with that exit status.
fails_with() {
  local wanted=$1 result=0
  shift
  "$@" || result=$?
  ((result == wanted))
}

# refused NAME STATUS TEXT OPTION…: 'uwwan up OPTION…' fails with that exit
# status, and each line of TEXT stands in its error.
refused() {
  local name=$1 status=$2 text=$3 said result=0 part
  shift 3
  said=$(timeout 60 "$program" up "$@" 2>&1 >/dev/null) || result=$?
  ((result == status)) || {
    not_ok "$name" "exit status $result instead of $status: ${said//$'\n'/ }"
    return 1
  }
  while read -r part; do
    [[ $said == *"$part"* ]] || {
      not_ok "$name" "'$part' is not in: ${said//$'\n'/ }"
      return 1
    }
  done <<<"$text"
  ok "$name"
}
