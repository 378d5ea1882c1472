#!/usr/bin/env bash
#
# run.bash - what this host cannot show: other kernels with cgroup v2 alone, under qemu
#
# usage: tests/vm/run.bash [KERNEL-PACKAGE...]     the programs of build/debug (NJ_PRESET) are used
#
# NJ_VM_ONLY=REGEX (without blanks) runs only the cases whose names fit, NJ_VM_CUTS="5 13" cuts the power after these replies.
#
# A guest is a Debian kernel, an initramfs of busybox and a disk made of this host's own programs; guest.bash runs in it and
# prints TAP on the serial port. Software emulation is slow, so the guest is small and every wait is bounded. Then the
# power cut: qemu is killed in the middle of a run, the guest boots again and resumes. Prints TAP; the last line is
# "1..N", or "skipped: REASON" where it cannot run at all.
set -uo pipefail

NJ_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P) || exit 2
NJ_PRESET=${NJ_PRESET:-debug}
KERNELS=("$@")
# The oldest that Debian 12 has, and a newer one: memory.peak, tmpfs attributes and v1 differ.
[ ${#KERNELS[@]} -gt 0 ] || KERNELS=('linux-image-6\.1\.0-[0-9]+-cloud-amd64' 'linux-image-6\.12\.[0-9]+\+deb12-cloud-amd64')
BOOT_SECONDS=${NJ_VM_BOOT_SECONDS:-3600} # of one guest, from power-on to power-off

work=$(mktemp -d) || exit 3
qemu=
finish() {
    [ -z "$qemu" ] || kill -KILL "$qemu" 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

count=0 bad=0
skip_all() { echo "skipped: $*"; exit 0; }
report() { # report STATUS NAME
    count=$((count + 1))
    if [ "$1" -eq 0 ]; then echo "ok $count $2"; else bad=$((bad + 1)); echo "not ok $count $2"; fi
}

for program in qemu-system-x86_64 busybox cpio mke2fs dpkg-deb apt-get xz; do
    command -v "$program" >/dev/null || skip_all "no $program here"
done
[ "$(uname -m)" = x86_64 ] || skip_all "the guests are for x86-64"
[ -x "$NJ_ROOT/build/$NJ_PRESET/bin/nightjar" ] || skip_all "build/$NJ_PRESET has no programs"
[ -x "$NJ_ROOT/build/$NJ_PRESET/tests/journal_events" ] || skip_all "build/$NJ_PRESET has no tests"

# ---- kernels ----

# kernel PATTERN - unpack the newest package that fits into $work/kernel
kernel() {
    local name
    name=$(apt-cache pkgnames linux-image- | grep -Ex "$1" | sort -V | tail -n 1)
    [ -n "$name" ] || return 1
    if ! [ -d "$work/$name" ]; then
        (cd "$work" && apt-get download -qq "$name" >/dev/null 2>&1 && dpkg-deb -x "$name"_*.deb "$name" && rm -f "$name"_*.deb) ||
            return 1
    fi
    kernel_name=$name
    vmlinuz=$(echo "$work/$name"/boot/vmlinuz-*)
    [ -f "$vmlinuz" ]
}

# What it takes to see an ext4 file system on a virtio disk, where it is no part of the kernel itself. Which of them needs
# which differs between kernels (virtio and virtio_ring changed places), so they are tried in rounds.
MODULES='virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk crc16 crc32c_generic libcrc32c mbcache jbd2 ext4'

# initramfs - busybox and the modules of this kernel
initramfs() {
    local root=$work/initramfs module file
    rm -rf "$root"
    mkdir -p "$root"/{bin,dev,proc,sys,root,modules}
    cp "$(command -v busybox)" "$root/bin/busybox"
    for module in $MODULES; do
        file=$(find "$work/$kernel_name" -name "$module.ko*" | head -n 1)
        case $file in
        *.xz) xz -dc "$file" >"$root/modules/$module.ko" ;;
        *.ko) cp "$file" "$root/modules/" ;;
        esac
    done
    cat >"$root/init" <<-'SH'
	#!/bin/busybox sh
	b=/bin/busybox
	$b mount -t devtmpfs dev /dev
	for round in 1 2 3 4 5; do
	    for m in /modules/*.ko; do [ ! -f $m ] || ! $b insmod $m 2>/dev/null || $b rm $m; done
	done
	for m in /modules/*.ko; do [ ! -f $m ] || $b insmod $m; done
	for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; $b sleep 1; done
	$b mount -t ext4 -o ro /dev/vda /root || { echo "not ok guest: no disk"; $b poweroff -f; }
	$b mount --move /dev /root/dev
	exec $b switch_root /root /usr/bin/bash /nightjar/tests/vm/guest.bash
	SH
    chmod 755 "$root/init"
    (cd "$root" && find . | cpio -o -H newc --quiet) >"$work/initramfs.img"
}

# ---- the disk ----

add() { # add FILE... - with the libraries it needs, at the same places
    local file library
    for file; do
        [ -e "$disk$file" ] && continue
        mkdir -p "$disk$(dirname "$file")"
        cp -L "$file" "$disk$file"
        for library in $(ldd "$file" 2>/dev/null | grep -oE '/[^ ]+'); do
            [ -e "$disk$library" ] && continue
            mkdir -p "$disk$(dirname "$library")"
            cp -L "$library" "$disk$library"
        done
    done
}

make_disk() {
    local program path
    disk=$work/disk
    mkdir -p "$disk"/usr/{bin,sbin,lib,lib64} "$disk"/{dev,proc,sys,tmp,run,mnt,data,root,etc} "$disk/nightjar/tests/vm"
    for path in bin sbin lib lib64; do ln -s "usr/$path" "$disk/$path"; done
    for program in bash sh env cat ls mkdir rm rmdir cp mv ln head tail tr sort seq sleep stat id uname chmod chown touch wc cut grep \
        sed awk mawk find xargs kill sync truncate dd date mktemp readlink mount umount setpriv unshare prlimit setsid timeout \
        ps true false stty tee rev printf dirname basename poweroff; do
        [ ! -f "/usr/bin/$program" ] || add "/usr/bin/$program"
    done
    cp "$(command -v busybox)" "$disk/usr/bin/busybox"
    # An interpreter of the system's, not one that lies where boxes do not look.
    path=$(readlink -f /usr/bin/python3) && add "$path" && cp -P /usr/bin/python3 "$disk/usr/bin/" 2>/dev/null
    path=/usr/lib/$(basename "$path")
    mkdir -p "$disk$path" && tar -C "$path" --exclude=test --exclude='__pycache__' --exclude=idlelib --exclude=dist-packages \
        --exclude='config-*' -cf - . | tar -C "$disk$path" -xf -
    add $(find "$disk$path/lib-dynload" -name '*.so' | sed "s|^$disk||") 2>/dev/null
    for program in "$disk$path"/lib-dynload/*.so; do
        for path in $(ldd "$program" | grep -oE '/[^ ]+'); do add "$path"; done
    done
    mkdir -p "$disk/usr/lib/locale" && cp -R /usr/lib/locale/C.utf8 "$disk/usr/lib/locale/"
    printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/nonexistent:/bin/false\nplain:x:1000:1000::/tmp:/bin/bash\n' >"$disk/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\nplain:x:1000:\n' >"$disk/etc/group"
    add "$NJ_ROOT/build/$NJ_PRESET"/bin/{nightjar,nightjar-replay,nj-sandbox} "$NJ_ROOT/build/$NJ_PRESET/tests/journal_events"
    # /nightjar is what the guest calls it, wherever the tree lies here.
    mv "$disk$NJ_ROOT"/build/"$NJ_PRESET"/*/* "$disk/nightjar/"
    cp "$NJ_ROOT/tests/vm/guest.bash" "$disk/nightjar/tests/vm/"
    strip "$disk"/nightjar/{nightjar*,nj-sandbox,journal_events} 2>/dev/null
    mke2fs -q -t ext4 -O ^has_journal -d "$disk" "$work/root.img" 700M 2>"$work/mke2fs.log"  >"$work/mke2fs.out" || { cat "$work/mke2fs.log"; return 1; }
}

data_disk() { rm -f "$work/data.img" && truncate -s 600M "$work/data.img" && mke2fs -q -t ext4 "$work/data.img"; }

# ---- guests ----

# boot SCENARIO - in the background; $qemu is its pid, serial.log its console, replies.log what the second port got
boot() {
    : >"$work/serial.log"
    qemu-system-x86_64 -M pc -cpu max -accel tcg,thread=multi -smp 2 -m 1536 -nodefaults -display none -no-reboot \
        -kernel "$vmlinuz" -initrd "$work/initramfs.img" \
        -append "console=ttyS0 quiet panic=-1 no_timer_check cgroup_no_v1=all random.trust_cpu=on mitigations=off nj.scenario=$1 nj.only=${NJ_VM_ONLY-}" \
        -drive "file=$work/root.img,if=virtio,format=raw,readonly=on" \
        -drive "file=$work/data.img,if=virtio,format=raw,cache=writeback" \
        -serial "file:$work/serial.log" -chardev "file,id=replies,path=$work/replies.log,append=on" -serial chardev:replies \
        >"$work/qemu.log" 2>&1 </dev/null &
    qemu=$!
}

# told SCENARIO - the guest's own lines become ours as they come, until its power is off or its time is up
told() {
    local line planned seen=0
    while IFS= read -r line; do
        line=${line%$'\r'}
        case $line in
        "ok "*) report 0 "$kernel_name: ${line#ok }"; seen=$((seen + 1)) ;;
        "not ok "*) report 1 "$kernel_name: ${line#not ok }"; seen=$((seen + 1)) ;;
        "# "*) echo "$line" ;;
        esac
    done < <(timeout "$BOOT_SECONDS" tail -n +1 -f --pid="$qemu" "$work/serial.log")
    ! kill -KILL "$qemu" 2>/dev/null || echo "# $kernel_name did not power off within $BOOT_SECONDS s"
    wait "$qemu" 2>/dev/null
    qemu=
    planned=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$work/serial.log" | head -n 1)
    if [ "$seen" -ne "${planned:--1}" ]; then
        report 1 "$kernel_name: $1: the guest planned ${planned:-nothing} and told $seen"
        tail -n 40 "$work/serial.log" | sed 's/^/# /'
        sed 's/^/# qemu: /' "$work/qemu.log" | head -n 5
    fi
}

# power_cut - after how many delivered replies the power goes
power_cut() {
    local after=$1 end=$((SECONDS + BOOT_SECONDS))
    boot begin
    until [ "$(grep -c . "$work/replies.log" 2>/dev/null)" -ge "$after" ]; do
        if ! kill -0 "$qemu" 2>/dev/null || [ "$SECONDS" -ge "$end" ]; then
            report 1 "$kernel_name: the guest never got to reply $after"
            tail -n 40 "$work/serial.log" | sed 's/^/# /'
            [ -z "$qemu" ] || kill -KILL "$qemu" 2>/dev/null
            qemu=
            return
        fi
        sleep 0.2
    done
    kill -KILL "$qemu"
    wait "$qemu" 2>/dev/null
    qemu=
    cp "$work/replies.log" "$work/replies-then.log"
    boot resume
    told "resume after a power cut"
    tr -d '\r' <"$work/serial.log" | sed -n 's/^DURABLE //p' >"$work/durable"
    python3 -I - "$work/replies-then.log" "$work/replies.log" "$work/durable" <<-'PYTHON'
	import collections, json, sys
	def delivered(path):
	    lines = open(path, encoding="utf-8", errors="replace").read().replace("\r", "").splitlines()
	    return collections.Counter((r["session"], r["turn"]) for r in map(json.loads, filter(None, lines)))
	then, now = delivered(sys.argv[1]), delivered(sys.argv[2])
	durable = {(w[0], int(w[2])) for w in map(str.split, open(sys.argv[3])) if len(w) > 2 and w[1] == "reply"}
	print(f"# {len(then)} delivered before the cut, {len(durable)} of them durable; {sum(now.values()) - len(now)} asked for again")
	again = [r for r in durable if now[r] != then[r]]
	if not durable: # one of three sessions has its second reply, so its first is durable
	    sys.exit("# nothing was durable before the cut")
	if again:
	    sys.exit(f"# durable, and asked for again: {again}")
	if any(n > 2 for n in now.values()):
	    sys.exit(f"# asked for more than once again: {now}")
	PYTHON
    report $? "$kernel_name: no durable reply was asked for again after a power cut at reply $after"
}

echo "# software emulation: some 5 minutes a kernel on two quiet processors, at most $BOOT_SECONDS s a boot"
make_disk || { echo "not ok 1 the guest's disk can be made"; exit 1; }
for pattern in "${KERNELS[@]}"; do
    if ! kernel "$pattern"; then
        echo "skipped: no kernel package that fits $pattern can be had"
        continue
    fi
    initramfs
    data_disk
    : >"$work/replies.log"
    boot limits
    told limits
    [[ "a run goes on after a power cut" =~ ${NJ_VM_ONLY-} ]] || continue
    for after in ${NJ_VM_CUTS:-5 13}; do
        data_disk
        : >"$work/replies.log"
        power_cut "$after"
    done
done
[ "$count" -gt 0 ] || skip_all "no guest could be started"
echo "1..$count"
[ "$bad" -eq 0 ]
