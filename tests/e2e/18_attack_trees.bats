# Workspaces that attack who captures, restores and reads them: names that are swapped, files that grow, attributes that
# mean something to other file systems. Each case runs twice, with a warm box and with one rebuilt after each call.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
}
teardown() { nj_teardown; }

# calls LANGUAGE FILE... - job.yaml with one session whose turns run the files' programs
calls() {
    local turn=0 file language=$1
    job_one "$language" </dev/null
    {
        echo 'replies:'
        for file in "${@:2}"; do
            turn=$((turn + 1))
            printf '  - when: {turn: %d}\n    call: [{tool: code_execution, input: {language: %s, code: %s, timeout_seconds: 60}}]\n' \
                "$turn" "$language" "$(json <"$file")"
        done
        echo '  - say: "{last}"'
    } >replies.yaml
}

# both_ways CHECK - run it warm and evicted, and verify each
both_ways() {
    local way
    for way in warm evicted; do
        [ "$way" = warm ] || export NJ_TEST_EVICT_ALWAYS=1
        expect 0 nightjar run job.yaml --run-dir "$way" --quiet
        "$1" "$way"
    done
    unset NJ_TEST_EVICT_ALWAYS
}

@test "11, 32: who swaps names, lets files grow and rewrites them never meets the capture" {
    # Each call leaves processes behind that go on until they are killed. If one of them lived when the workspace is
    # walked, a folder would be entered through a link, or a file would change between being measured and read.
    cat >race <<'PY'
import os, signal, sys
os.makedirs("/workspace/d", exist_ok=True)
open("/workspace/d/inside", "w").write("mine")
for role in range(3):
    if os.fork():
        continue
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in range(1, 32):
        try:
            signal.signal(number, signal.SIG_IGN)
        except OSError:
            pass
    n = 0
    while True:
        n += 1
        try:
            if role == 0:       # d: a folder, then a link to one of the system's
                os.symlink("/etc", "/workspace/l")
                os.rename("/workspace/d", "/workspace/kept"); os.rename("/workspace/l", "/workspace/d")
                os.unlink("/workspace/d"); os.rename("/workspace/kept", "/workspace/d")
            elif role == 1:     # a file that grows
                with open("/workspace/grows", "ab") as file:
                    file.write(b"x" * 4096)
                if n % 100 == 0:
                    os.truncate("/workspace/grows", 0)
            else:               # and one that is another with each look
                with open("/workspace/new", "wb") as file:
                    file.write(b"%d" % n * 1000)
                os.replace("/workspace/new", "/workspace/rewritten")
        except OSError:
            pass
import time
time.sleep(0.3)
PY
    cat >look <<'PY'
import os, hashlib
print(sorted(os.listdir("/workspace")))
for name in ("grows", "rewritten"):
    path = "/workspace/" + name
    if os.path.exists(path):
        print(name, os.path.getsize(path), hashlib.sha256(open(path, "rb").read()).hexdigest())
PY
    calls python race look race look
    check() {
        local step
        for step in 2 4 6; do
            expect 0 nightjar-replay ls --json "$1:one@$step"
            ! grep -E '/workspace/(d|kept)/[a-z]' <<<"$out" | grep -vE '/(d|kept)/inside' || complain "something of outside was captured"
        done
        # What the second call of each pair saw is what was captured after the first, to the byte: nothing ran in between.
        for step in 4 8; do
            expect 0 nightjar-replay show --json "$1:one@$step"
            for name in grows rewritten; do
                [[ $out == *"$name "* ]] || continue
                sum=$(grep -oE "$name [0-9]+ [0-9a-f]{64}" <<<"$out" | head -1 | cut -d' ' -f3)
                same "$(nightjar-replay cat "$1:one@$step" "/workspace/$name" | sha256sum | cut -d' ' -f1)" "$sum" "$name of step $step"
                same "$(nightjar-replay cat "$1:one@$((step - 2))" "/workspace/$name" | sha256sum | cut -d' ' -f1)" "$sum" "$name before step $step"
                compared=$((${compared-0} + 1))
            done
        done
    }
    both_ways check
    [ "${compared-0}" -ge 4 ] || complain "nothing was compared"
    expect 0 nightjar-replay fsck warm evicted
}

@test "17: attributes that overlayfs would obey are data: kept, and without effect where they are restored" {
    cat >set <<'PY'
import os
os.makedirs("/workspace/lower", exist_ok=True)
open("/workspace/lower/there", "w").write("there")
names = {"user.overlay.opaque": b"y", "user.overlay.whiteout": b"y", "user.overlay.redirect": b"/etc", "user.overlay.metacopy": b"",
         "user.overlay.origin": b"\xff" * 32, "user.fuseoverlayfs.opaque": b"y"}
kept = []
for name, value in names.items():
    for path in ("/workspace/lower", "/workspace/lower/there"):
        try:
            os.setxattr(path, name, value)
            kept.append(name)
        except OSError as error:
            print(name, error.strerror)
print(len(kept))
capability = b"\x00\x00\x00\x02" + b"\xff" * 16  # a well-formed one: all, as VFS_CAP_REVISION_2 has it
for name, value in (("trusted.overlay.opaque", b"y"), ("security.capability", capability)):
    try:
        os.setxattr("/workspace/lower/there", name, value)
        print(name, "was", "set")
    except OSError as error:
        print(name, error.strerror)
PY
    cat >get <<'PY'
import os
print(os.listdir("/workspace/lower"), open("/workspace/lower/there").read(), sorted(os.listxattr("/workspace/lower")), sorted(os.listxattr("/workspace/lower/there")))
PY
    calls python set get
    check() {
        seen+="$(row one 'r["result"]' "$1")"$'\n'
        expect 0 nightjar-replay verify "$1:one"
        expect 0 nightjar-replay checkout "$1:one" --to "files-$1"
        same "$(<"files-$1/workspace/lower/there")" there
        [ -z "$(python3 -I -c 'import os, sys; print("".join(os.listxattr(sys.argv[1])))' "files-$1/workspace/lower")" ] ||
            complain "a checkout has attributes of the box"
        expect 0 nightjar-replay show "$1:one@2"
        hasnt "was set"
    }
    seen=
    both_ways check
    same "$(sort -u <<<"$seen" | grep -c .)" 1 "what was seen warm and evicted"
    [[ $seen == "['there'] there"* ]] || complain "$seen"
}
