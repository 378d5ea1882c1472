# programs.bash - which nightjar a sample runs: those in the PATH where NIGHTJAR=installed, else build/release
#
# Sourced by samples/*/run with NJ_ROOT set; sets NIGHTJAR and REPLAY, installing and building where needed.

if [ "${NIGHTJAR-}" = installed ]; then
    NIGHTJAR=$(command -v nightjar) && REPLAY=$(command -v nightjar-replay) || exit 1
else
    . "$NJ_ROOT/tests/lib/install.bash"
    nj_install $NJ_PACKAGES_BUILD $NJ_PACKAGES_RUN || exit 1
    NJ_CONFIGURE=()
    # Tests need more packages than a first look should; a tree that already builds them is left as it is.
    [ -f "$NJ_ROOT/build/release/CMakeCache.txt" ] || NJ_CONFIGURE=(-DNJ_TESTS=OFF)
    nj_build release nightjar nightjar-replay || exit 1
    NIGHTJAR=$NJ_ROOT/build/release/bin/nightjar
    REPLAY=$NJ_ROOT/build/release/bin/nightjar-replay
fi
