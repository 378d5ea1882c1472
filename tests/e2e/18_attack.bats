# The list of attacks, from inside a box: programs of tests/lib/attack try each item, and say what the kernel answered.
# What must come is a table beside each program, "ITEM what: outcome"; an attempt that begins to succeed is a red
# line with its number. As root and as an ordinary user, with and without the reproducible layer, the answers are the same.
#
# Where each item is: 1, 2, 4, 6, 7, 12 to 17, 19 kernel · 3, 5, 8, 9, 10, 18 others · 20 to 24, 27, 29, 30 processes ·
# 25 18_attack_resources · 26, 28 03_limits · 11, 17, 31, 42 08_hostile · 32 test_capture and test_box · 46 01_check · 43, 44
# tests/fault · 45 09_verdicts. The network (33 to 41) comes with the gateway, 47 to 50 with the reproducible layer.

load ../lib/common
load ../lib/attack

setup_file() { attack_build; }
setup() {
    nj_setup
    skip_without namespaces
    skip_without cc
}
teardown() { nj_teardown; }

@test "1-19: the kernel's doors are shut" {
    attack "exec /attack/kernel"
    matches kernel
}

@test "3-18: nothing else of this host or of the box's own pid 1 is within reach" {
    # Somebody outside listens on an abstract socket; a box has a network namespace of its own, and cannot see it.
    python3 -I - "nj-attack-$$" >ready <<-'PYTHON' 3>&- &
	import socket, sys
	server = socket.socket(socket.AF_UNIX)
	server.bind(b"\0" + sys.argv[1].encode())
	server.listen()
	print("listens", flush=True)
	server.accept()
	open("reached", "w").close()
	PYTHON
    nj_started+=($!)
    until_true 60 test -s ready
    attack "exec /attack/others nj-attack-$$"
    matches others
    [ ! -e reached ] || complain "the host's socket was reached"
}

@test "20-30: births, deaths, floods of calls and descriptors end at their limits" {
    ATTACK_SANDBOX="max_processes: 64" attack "exec /attack/processes"
    matches processes
}

@test "24, 29: threads and processes are refused beyond the limit, or a watchdog ends the call by its name" {
    ATTACK_SANDBOX="max_processes: 64" attack "exec /attack/processes births"
    local level
    for level in "${!got[@]}"; do
        [[ ${got[$level]} == *"29 all threads: EAGAIN"*"24 all processes: EAGAIN"* ||
            ${got[$level]} == *"[limit] max_processes of 64"* ]] ||
            complain "at $level no limit was met: ${got[$level]}"
    done
}

@test "20: what a call leaves running ends with it, inside and out" {
    local token="left-$$-$RANDOM" level
    # The first call ends while its child goes on writing; the second sees whether it still does.
    attack "/attack/processes daemon $token & until [ -s beat ]; do sleep 0.01; done" \
        'a=$(od -An -tu8 beat); sleep 0.3; [ "$a" = "$(od -An -tu8 beat)" ] && echo still; ls -d /proc/[0-9]* | wc -l'
    # pid 1, the shell, and ls with wc
    for level in "${!got[@]}"; do
        [[ ${got[$level]} == still$'\n'[34] ]] || complain "at $level something goes on: ${got[$level]}"
    done
    # The pattern comes from a file, else grep would find itself.
    echo "$token" >token
    ! grep -saf token /proc/[0-9]*/cmdline >/dev/null || complain "it goes on outside"
}
