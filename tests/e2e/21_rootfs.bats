# Images: boxes with a system of the manifest's choice, by its digest, recorded, and asked for again.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
}
teardown() { nj_teardown; }

# image TEXT - a system of few programs in the folder img, TEXT in its /etc/image, packed as image.tar
image() {
    local program file
    if [ ! -d img ]; then
        mkdir -p img/usr/bin img/usr/lib64 img/etc
        ln -s usr/bin img/bin && ln -s usr/lib img/lib && ln -s usr/lib64 img/lib64
        for program in bash cat ls; do
            cp -L "/usr/bin/$program" img/usr/bin
            for file in $(ldd "/usr/bin/$program" | grep -o '/[^ ]*'); do
                install -D "$(realpath "$file")" "img/usr/${file#/usr}"
            done
        done
        if [ -d img/usr/lib/lib64 ]; then mv img/usr/lib/lib64/* img/usr/lib64; fi
    fi
    echo "$1" >img/etc/image
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C img -cf image.tar .
}

digest() { echo "sha256:$(sha256sum <"$1" | cut -d ' ' -f 1)"; }

# job ROOTFS [LINE] - one session that shows the image, and tries to change it
job() {
    job_one bash "rootfs: $1" <<<'cat /etc/image /etc/hostname; ls -d /usr/bin/python3 /var /usr/bin/cat; (: >/usr/x) || :; (: >/etc/passwd) || :'
    [ -z "${2-}" ] || echo "$2" >>job.yaml
}

@test "a box has the image as its system, read-only, beside what every box says of itself" {
    image one
    job "{tar: image.tar, digest: '$(digest image.tar)'}"
    expect 0 nightjar run job.yaml --run-dir run
    [[ $(result one) == *one$'\n'sandbox$'\n'/usr/bin/cat* ]] || complain "not the image: $(result one)"
    [[ $(result one) == *"/usr/x: Read-only file system"*"/etc/passwd: Read-only file system"* ]] || complain "it was changed"
    [[ $(result one) == *"'/var': No such file"* ]] || complain "the host's /var is there"
    rm -r img image.tar
    expect 0 nightjar-replay verify run/bundles/*.njb
    expect 0 nightjar-replay verify run:one
    expect 0 nightjar-replay fsck run/bundles/*.njb
}

@test "another digest than the manifest's ends before anything starts, and names both" {
    image one
    job "{tar: image.tar, digest: '$(digest /dev/null)'}"
    expect 2 nightjar run job.yaml --run-dir run
    has_err "has the digest $(digest image.tar), not $(digest /dev/null)"
    has_err "agents.tester.sandbox.rootfs"
    [ ! -e run/journal ] || [ -z "$(ls run/bundles)" ]
    expect 2 nightjar check job.yaml
    job "{tar: missing.tar}"
    expect 2 nightjar check job.yaml
    has_err missing.tar
}

@test "a session's identity follows the image, and a folder is an image, too" {
    image one
    job "{tar: image.tar}"
    expect 0 nightjar run job.yaml --run-dir first
    image two
    expect 0 nightjar plan job.yaml --reuse first
    has_out rootfs
    job "{dir: img}"
    expect 0 nightjar run job.yaml --run-dir folder
    [[ $(result one folder) == *two$'\n'sandbox* ]] || complain "not the folder: $(result one folder)"
    expect 0 nightjar-replay verify folder/bundles/*.njb
}

@test "a bundle that names its image by digest is verified in the file that has it, and told apart in another" {
    image one
    job "{tar: image.tar}" 'archive: {inputs: reference}'
    expect 0 nightjar run job.yaml --run-dir run
    expect 2 nightjar-replay verify run/bundles/*.njb
    has_err "($(digest image.tar)); give it with --rootfs FILE"
    expect 0 nightjar-replay verify run/bundles/*.njb --rootfs image.tar
    was=$(digest image.tar)
    image two
    expect 5 nightjar-replay verify run/bundles/*.njb --rootfs image.tar
    has "recorded $was, here $(digest image.tar)"
    has 'recorded "one'
    expect 2 nightjar-replay verify run/bundles/*.njb --rootfs missing
    expect 2 nightjar-replay verify run/bundles/*.njb --rootfs .
}

@test "a packed image is unpacked, names that are not ASCII and all" {
    image one
    echo x >"img/etc/Főtanúsítvány"
    mkdir img/dev img/proc && echo x >img/dev/x
    for packer in gzip xz zstd; do
        command -v "$packer" >/dev/null || continue
        tar -C img -cf - . | "$packer" >"image.tar.$packer"
        job "{tar: image.tar.$packer}"
        sed -i 's/cat .etc.image/ls \/etc \/dev/' replies.yaml
        expect 0 nightjar run job.yaml --run-dir "run-$packer"
        [[ $(result one "run-$packer") == *Főtanúsítvány* ]] || complain "$packer: $(result one "run-$packer")"
    done
}

@test "an image that leads out, or is none, is refused by the name of its entry" {
    cat >bad.py <<'PYTHON'
import io, sys, tarfile
kind = sys.argv[1]
with tarfile.open("bad.tar", "w") as tar:
    def add(name, **what):
        info = tarfile.TarInfo(name)
        data = what.pop("data", b"")
        info.size = len(data)
        for key, value in what.items():
            setattr(info, key, value)
        tar.addfile(info, io.BytesIO(data))
    add("usr", type=tarfile.DIRTYPE, mode=0o755)
    if kind == "dots":
        add("usr/../../escaped", data=b"x")
    elif kind == "absolute":
        add("/escaped", data=b"x")
    elif kind == "link":
        add("usr/out", type=tarfile.SYMTYPE, linkname="/tmp")
        add("usr/out/escaped", data=b"x")
    elif kind == "hardlink":
        add("usr/out", type=tarfile.LNKTYPE, linkname="/etc/passwd")
    elif kind == "device":
        add("usr/device", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
    elif kind == "fifo":
        add("usr/fifo", type=tarfile.FIFOTYPE)
    elif kind == "etc":
        add("etc", type=tarfile.SYMTYPE, linkname="usr")
    elif kind == "passwd":
        add("etc/passwd/x", data=b"x")
if kind == "folder":
    with tarfile.open("bad.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("image"), io.BytesIO(b""))
elif kind == "cut":
    with open("bad.tar", "r+b") as file:
        file.truncate(700)
elif kind == "rubbish":
    with open("bad.tar", "wb") as file:
        file.write(b"rubbish" * 1000)
PYTHON
    job "{tar: bad.tar}"
    while read -r kind says; do
        python3 -I bad.py "$kind"
        expect 2 nightjar run job.yaml --run-dir "run-$kind"
        has_err "rootfs: "
        has_err "$says"
        [ ! -e /escaped ] && [ ! -e /tmp/escaped ]
    done <<'LIST'
dots usr/../../escaped
link usr/out/escaped
device usr/device
etc /etc
folder neither
cut archive
LIST
}

# slow_image - image.tar, for whose 6 GB of zeros below /dev, which are left out, the unpacking process takes seconds
slow_image() {
    python3 -I <<'PYTHON'
import tarfile, zlib
def member(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()
usr, zeros = tarfile.TarInfo("usr"), tarfile.TarInfo("dev/zeros")
usr.type, zeros.size = tarfile.DIRTYPE, 6 << 30
some = member(bytes(64 << 20))
with open("image.tar", "wb") as file:
    file.write(member(usr.tobuf() + zeros.tobuf()) + some * 96 + member(bytes(1024)))
PYTHON
}

# unpacking - $helper and its child $unpacker, both of the run that was begun
unpacking() {
    for helper in $(<"/proc/$begun/task/$begun/children"); do
        for unpacker in $(cat "/proc/$helper/task/$helper/children" 2>/dev/null); do
            [ "$(cat "/proc/$unpacker/comm" 2>/dev/null)" != nj-unpack ] ||
                ! grep -q '^Seccomp:	2' "/proc/$unpacker/status" || return 0
        done
    done
    return 1
}
gone() { ! grep -q '^State:	[^ZX]' "/proc/$1/status" 2>/dev/null; }

@test "who unpacks is ended with the engine" {
    slow_image
    job "{tar: image.tar}"
    begin nightjar run job.yaml --run-dir run
    until_true 30 unpacking
    kill -STOP "$unpacker" # it would not end by itself
    kill -KILL "$begun"
    wait "$begun" || true
    until_true 10 gone "$unpacker"
    until_true 10 gone "$helper"
}

@test "who unpacks is ended with the helper, and its own end is told" {
    slow_image
    job "{tar: image.tar}"
    begin nightjar run job.yaml --run-dir first
    until_true 30 unpacking
    kill -STOP "$unpacker" # it would not end by itself
    kill -KILL "$helper"
    until_true 10 gone "$unpacker"
    ended 3
    begin nightjar run job.yaml --run-dir second
    until_true 30 unpacking
    kill -KILL "$unpacker"
    ended 2
    has_err "rootfs: unpacking ended by signal 9"
}
