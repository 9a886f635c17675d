# shellcheck shell=bash
# Sources everything that the witnesses share.

parts=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=tools/witness.sh
. "$parts/../../../tools/witness.sh"
# shellcheck source=tests/guest/parts/emulator.sh
. "$parts/emulator.sh"
# shellcheck source=tests/guest/parts/modem.sh
. "$parts/modem.sh"
# shellcheck source=tests/guest/parts/driver.sh
. "$parts/driver.sh"
# shellcheck source=tests/guest/parts/traffic.sh
. "$parts/traffic.sh"
