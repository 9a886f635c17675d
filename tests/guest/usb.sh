#!/usr/bin/env bash
# Both USB backends against the kernel's own test gadget on an emulated
# controller: switching, queues, cancelling, unplugging (crates/usb/examples/exercise).
# guest: --cpus 1 --timeout 900
set -u
here=$(cd "$(dirname "$0")" && pwd -P)
# shellcheck source-path=SCRIPTDIR source=../../tools/witness.sh
. "$here/../../tools/witness.sh"

exercise=${UWWAN_EXERCISE:-}
for place in release debug; do
  [[ -n $exercise ]] || { [[ -x $here/../../target/$place/examples/exercise ]] &&
    exercise=$here/../../target/$place/examples/exercise; }
done
[[ -n $exercise ]] || {
  not_ok 'the program to exercise the stack is there' 'build it with: cargo build -p uwwan-usb --examples'
  finish
}

modprobe dummy_hcd num=2
modprobe -a libcomposite usbtest usb_f_ss_lb usb_f_fs
mountpoint -q /sys/kernel/config || mount -t configfs config /sys/kernel/config
gadgets=/sys/kernel/config/usb_gadget
gadget=$gadgets/exercise
mkdir -p "$gadget"/{strings/0x409,configs/c.2,configs/c.3,functions/Loopback.0,functions/SourceSink.0}
echo 0x0525 >"$gadget/idVendor"
echo 0xa4a0 >"$gadget/idProduct"
echo exercise >"$gadget/strings/0x409/product"
ln -s "$gadget/functions/SourceSink.0" "$gadget/configs/c.3/"
ln -s "$gadget/functions/Loopback.0" "$gadget/configs/c.2/"
echo dummy_udc.0 >"$gadget/UDC"

# This gadget never answers; the program plays it and plugs it in.
silent=$gadgets/silent
mkdir -p "$silent"/{strings/0x409,configs/c.1,functions/ffs.silent} /tmp/silent
echo 0x0525 >"$silent/idVendor"
echo 0xa4a1 >"$silent/idProduct"
ln -s "$silent/functions/ffs.silent" "$silent/configs/c.1/"
mount -t functionfs silent /tmp/silent
wait_for 20 lsusb -d 0525:a4a0

for backend in libusb nusb; do
  "$exercise" --usb "$backend" "$gadgets" "$@" || witness_failures=$((witness_failures + 1))
done
check 'the kernel has nothing to complain about' \
  bash -c '! dmesg | grep -E "BUG|WARNING|Oops|usbfs: .*did not claim"'
finish
