#!/usr/bin/env bash
#
# tests/package/package.sh DEB - install the package on a clean Debian 12 and run a job there
#
# The clean system is debootstrap's minbase, kept as a tar file in NJ_CACHE (default ~/.cache/nightjar), unpacked into
# a folder of its own and entered by pivot_root in mount and pid namespaces of its own (in a chroot the
# kernel makes no user namespaces). Packages come from where this machine's apt takes them. Needs root.
set -euo pipefail

deb=$(readlink -f "$1")
cache=${NJ_CACHE:-${HOME:-/root}/.cache/nightjar}
base=$cache/bookworm-minbase.tar
work=$(mktemp -d)
root=$work/root
trap 'rm -rf --one-file-system "$work"' EXIT

say() { printf '  %s\n' "$*"; }
fail() {
    echo "package: $*" >&2
    exit 1
}

# Nothing below its pedantry: what is meant as it is stands in .cmake/packaging/debian/lintian-overrides.
lintian --no-cfg --profile debian --allow-root --fail-on error,warning "$deb" >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "lintian finds faults"; }
say "lintian finds nothing"

mkdir -p "$cache"
if [ ! -s "$base" ]; then
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
    debootstrap --variant=minbase bookworm "$work/new" ${mirror:+"$mirror"} >"$work/log" 2>&1 ||
        { tail -n 20 "$work/log" >&2; fail "debootstrap failed"; }
    tar -C "$work/new" --exclude ./proc/* --exclude ./sys/* --exclude ./dev/* -cf "$base.new" .
    mv "$base.new" "$base"
    rm -rf --one-file-system "$work/new"
    say "a clean Debian 12 was made"
fi
mkdir -p "$root"
tar -C "$root" -xf "$base"
# How this machine reaches packages is how the clean one does.
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp -a /etc/apt/sources.list /etc/apt/sources.list.d "$root/etc/apt/" 2>/dev/null || true
find "$root/etc/apt/sources.list.d" -type f ! -name 'debian*' -delete
cp /usr/share/keyrings/debian-archive-* "$root/usr/share/keyrings/" 2>/dev/null || true
grep -lE '^ *Acquire::' /etc/apt/apt.conf.d/* 2>/dev/null | xargs -r cp -t "$root/etc/apt/apt.conf.d" || true
cp "$deb" "$root/nightjar.deb"

# inside COMMAND - in the clean system
inside() {
    unshare --mount --pid --fork --propagation private bash -c '
        mount --bind "$1" "$1" && mount -t proc proc "$1/proc" && mount -t tmpfs -o mode=755 dev "$1/dev" &&
            for node in null zero full random urandom tty; do
                touch "$1/dev/$node" && mount --bind "/dev/$node" "$1/dev/$node" || exit 1
            done
        mkdir "$1/dev/shm" && mount -t tmpfs shm "$1/dev/shm"
        ln -s /proc/self/fd "$1/dev/fd"
        cd "$1" && mkdir -p old && pivot_root . old && umount -l /old && rmdir /old || exit 1
        exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
            bash -c "$2"' bash "$root" "$1"
}
# try WHAT COMMAND - say it, or fail with what it told
try() {
    inside "set -e; $2" >"$work/log" 2>&1 </dev/null || { tail -n 30 "$work/log" >&2; fail "$1"; }
    say "$1"
}

try "apt installs it with what it depends on, and nothing recommended" \
    'apt-get update -qq; apt-get install -qq -y --no-install-recommends /nightjar.deb'
try "both programs start, and find all their libraries" \
    '[ "$(nightjar --version)" = "nightjar $(dpkg-query -W -f="\${Version}" nightjar)" ]; nightjar-replay --version'
try "it has no configuration files and no scripts" \
    '[ -z "$(dpkg-query -W -f="\${Conffiles}" nightjar)" ]; ! ls /var/lib/dpkg/info/nightjar.*inst /var/lib/dpkg/info/nightjar.*rm 2>/dev/null'
try "pages, completions, samples and formats are where they belong" \
    'cd /usr/share; ls man/man1/nightjar.1* man/man1/nightjar-run.1* man/man1/nightjar-replay.1* man/man5/nightjar-manifest.5* \
        bash-completion/completions/nightjar zsh/vendor-completions/_nightjar fish/vendor_completions.d/nightjar.fish \
        doc/nightjar/formats/bundle/FORMAT.md doc/nightjar/samples/nightly/nightjar-nightly.timer'
if inside 'nightjar help doctor' >/dev/null 2>&1; then
    inside 'nightjar doctor' >"$work/log" 2>&1 && status=0 || status=$?
    [ "$status" -le 1 ] || { tail -n 30 "$work/log" >&2; fail "nightjar doctor ended with $status"; }
    say "doctor looks at the host (exit status $status)"
fi
try "python3 comes from Debian" 'apt-get install -qq -y --no-install-recommends python3'
try "the quickstart's job succeeds in whole" \
    'mkdir -m 1777 /runs; nightjar run /usr/share/doc/nightjar/samples/quickstart/job.yaml --run-dir /runs/quick --quiet
     [ "$(wc -l </runs/quick/results.jsonl)" -gt 50 ]; ! grep -v "\"status\": *\"succeeded\"" /runs/quick/results.jsonl'
try "its bundles verify" \
    'set -- /runs/quick/bundles/*.njb; nightjar-replay verify "$1" "$2" "$3"'
try "the limits sample, as it is installed, tells what it should" \
    'NIGHTJAR=installed /usr/share/doc/nightjar/samples/limits/run /runs/limits'
try "removing it leaves nothing of it" \
    'apt-get purge -qq -y nightjar; [ -z "$(find /etc /usr /var/lib -xdev -name "*nightjar*")" ]'
