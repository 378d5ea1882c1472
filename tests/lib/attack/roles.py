"""roles.py PID [--fds] - who holds what: the processes below an engine, one line each

ROLE uid=WHO groups=N caps=NAMES nnp=0|1 seccomp=0|2 dumpable=yes|no|? [fds=KINDS]
WHO is root, self (whose run it is) or own (a host uid of the box's alone). Capabilities are the permitted ones: what a
process can have, whichever it lays down for a moment. Those of another user namespace than the reader's reach what
belongs to the box, and carry its mark: box:NAME. Descriptors are told by their kinds, sorted; they need the right to
look (root).
"""
import os, re, sys

CAPS = ("chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
        "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct "
        "sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control "
        "setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore").split()
ROLES = {"nightjar": "engine", "nj-helper": "helper", "nj-box": "supervisor", "nj-vault": "vault"}


def read(pid, name):
    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
        return file.read()


def status(pid):
    return dict(line.split(":\t", 1) for line in read(pid, "status").splitlines() if ":\t" in line)


def children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        found += [int(child) for child in read(pid, f"task/{task}/children").split()]
    return found


def role_of(pid, parent):
    name = read(pid, "comm").strip()
    if parent == "supervisor":
        return "init"
    if parent == "init":
        return "reaper"
    if parent == "reaper" and name == "nj-init":
        return "waiting"  # for its call, or on its way to the program
    if parent in ("reaper", "payload"):
        return "payload"
    return ROLES.get(name, name)


def caps_of(fields, foreign):
    bits = int(fields["CapPrm"], 16)
    names = [name for number, name in enumerate(CAPS) if bits >> number & 1]
    if len(names) > 30:
        names = ["all"]
    return ",".join(("box:" if foreign else "") + name for name in names) or "none"


def kinds_of(pid):
    kinds = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            kinds.append(kind_of(pid, number))
        except FileNotFoundError:
            pass  # at D3 a supervisor has copies of descriptors for a moment
    return sorted(kinds)


def kind_of(pid, number):
    target = os.readlink(f"/proc/{pid}/fd/{number}")
    if number == "2" and target == os.readlink("/proc/%d/fd/2" % engine):
        return "stderr"
    if target.startswith("anon_inode:"):
        return target[11:].strip("[]")
    if re.match(r"(socket|pipe):", target):
        return target.split(":")[0]
    if target.startswith("/memfd:"):
        return "memfd"
    if "cgroup" in target:
        return "cgroup"
    if target == "/dev/null":
        return "null"
    return "folder" if os.path.isdir(f"/proc/{pid}/fd/{number}") else os.path.basename(target)


def line(pid, role, engine_uid, fds):
    fields = status(pid)
    uid = int(fields["Uid"].split()[1])
    # Inside a user namespace of a box everything that is not its own shows another map than ours.
    foreign = read(pid, "uid_map") != read("self", "uid_map")
    who = "root" if uid == 0 else "own" if uid >= 0x6e6a0000 else "self" if uid == engine_uid else str(uid)
    # The kernel gives an undumpable process's files in /proc to root; of root's own nothing can be told so.
    dumpable = "?" if uid == 0 else "yes" if os.stat(f"/proc/{pid}/environ").st_uid == uid else "no"
    text = (f"{role} uid={who} groups={len(fields['Groups'].split())} caps={caps_of(fields, foreign)} "
            f"nnp={fields['NoNewPrivs']} seccomp={fields['Seccomp']} dumpable={dumpable}")
    if fds and role in ("supervisor", "init", "reaper", "payload"):
        kinds = kinds_of(pid)
        text += " fds=" + ",".join(f"{kind}*{kinds.count(kind)}" for kind in sorted(set(kinds)))
    return text


def walk(pid, role, engine_uid, fds):
    print(line(pid, role, engine_uid, fds))
    for child in children(pid):
        walk(child, role_of(child, role), engine_uid, fds)


engine = int(sys.argv[1])
walk(engine, "engine", int(status(engine)["Uid"].split()[1]), "--fds" in sys.argv)
