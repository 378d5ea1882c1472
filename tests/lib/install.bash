# install.bash - which Debian packages each purpose needs, and installing those that are missing
#
# Sourced by tests/run and samples/quickstart/run. nj_install does nothing, and takes no time, when all
# is there; otherwise it needs root and says what to ask an administrator for.

NJ_PACKAGES_BUILD="gcc libc6-dev cmake ninja-build pkg-config libmsgpack-dev libzstd-dev libssl-dev
    libxxhash-dev libarchive-dev libseccomp-dev libevent-dev libjansson-dev libyaml-dev libcurl4-openssl-dev"
NJ_PACKAGES_RUN="python3-minimal python3 bash"
NJ_PACKAGES_TEST="libcmocka-dev bats nodejs zstd tar procps util-linux binutils
    man-db mandoc bash-completion zsh fish python3-jsonschema python3-yaml python3-msgpack"
NJ_PACKAGES_FUZZ="clang libclang-rt-14-dev llvm"
NJ_PACKAGES_PACKAGE="dpkg-dev file debootstrap lintian"
NJ_PACKAGES_VM="qemu-system-x86 busybox-static cpio e2fsprogs xz-utils dpkg"
NJ_PACKAGES_WORKLOADS="g++ make git sqlite3 perl openssl patch diffutils" # tests/bench/reproducible
NJ_PACKAGES_BENCH="bubblewrap postgresql crun runc firejail libsqlite3-dev git restic borgbackup openssl"

# nj_missing PACKAGE... - print those that are not installed
nj_missing() {
    local package
    for package; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
    done
}

# nj_install PACKAGE... - install what is missing, quietly
nj_install() {
    local missing log
    if ! command -v dpkg-query >/dev/null; then
        echo "this is no Debian system: these packages, or what they are called here, are needed: $*" >&2
        return 0 # CMake will name what it does not find
    fi
    mapfile -t missing < <(nj_missing "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    # A program of the same name from elsewhere (a newer cmake, another node) does as well.
    local package program still=()
    for package in "${missing[@]}"; do
        case $package in
        pkg-config) program=pkg-config ;;
        ninja-build) program=ninja ;;
        nodejs) program=node ;;
        python3-minimal) program=python3 ;;
        bubblewrap) program=bwrap ;;
        gcc | cmake | bats | zstd | clang | python3 | bash) program=$package ;;
        *) program= ;;
        esac
        { [ -n "$program" ] && command -v "$program" >/dev/null; } || still+=("$package")
    done
    missing=("${still[@]}")
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing packages; as root: apt-get install ${missing[*]}" >&2
        return 1
    fi
    echo "installing ${missing[*]}" >&2
    log=$(mktemp) || return 1
    if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
        --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        echo "apt-get could not install ${missing[*]}" >&2
        return 1
    fi
    rm -f "$log"
}

# nj_build PRESET TARGET... - configure build/PRESET where needed and build the targets (none: all)
#
# NJ_ROOT is the source tree; extra configure arguments are taken from the array NJ_CONFIGURE.
nj_build() {
    local preset=$1 dir="$NJ_ROOT/build/$1" log target=()
    shift
    [ $# -eq 0 ] || target=(--target "$@")
    mkdir -p "$dir" || return 1
    log="$dir/build.log"
    # A tree that was moved or copied cannot use the old configuration.
    if [ -f "$dir/CMakeCache.txt" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$NJ_ROOT" "$dir/CMakeCache.txt"; then
        find "$dir" -mindepth 1 -delete
    fi
    if ! { cmake -C "$NJ_ROOT/.cmake/$preset.cmake" "${NJ_CONFIGURE[@]}" -S "$NJ_ROOT" -B "$dir" -G Ninja &&
        cmake --build "$dir" "${target[@]}"; } >"$log" 2>&1; then
        grep -E -A 12 'error|FAILED' "$log" | head -n 60 >&2
        echo "build/$preset: the build failed; all of it is in $log" >&2
        return 1
    fi
}
