"""memory.py ROAD - take memory by one road until it is refused, and say what came

Item 25 of the list of attacks. A box of 64 MiB must end every road: by a refusal that the program sees (its name is
printed), or by the end of the call, which then names its limit. "never" means that four times the limit was held.
"""
import array, ctypes, errno, fcntl, mmap, os, socket, sys, time

LIMIT = 64 << 20
MOST = 4 * LIMIT
MIB = b"x" * (1 << 20)
libc = ctypes.CDLL(None, use_errno=True)


def heap():
    held = []
    while len(held) << 20 < MOST:
        held.append(bytearray(MIB))


def shared_mapping():
    page = mmap.mmap(-1, MOST)
    for at in range(0, MOST, len(MIB)):
        page[at:at + len(MIB)] = MIB


def memfds():
    held = 0
    while held < MOST:  # never mapped: no process seems to hold it
        fd = os.memfd_create("held")
        for _ in range(8):
            held += os.write(fd, MIB)


def memfds_in_flight():
    """Descriptors that wait inside a socket belong to no process at all."""
    ours, theirs = socket.socketpair()
    held = 0
    while held < MOST:
        fd = os.memfd_create("held")
        for _ in range(8):
            held += os.write(fd, MIB)
        ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        os.close(fd)


def workspace():
    with open("/workspace/held", "wb") as file:
        while file.tell() < MOST:
            file.write(MIB)


def dev_shm():
    with open("/dev/shm/held", "wb") as file:
        while file.tell() < MOST:
            file.write(MIB)


def scripts_place():
    with open("/run/held", "wb") as file:
        while file.tell() < MOST:
            file.write(MIB)


def system_v():
    libc.shmat.restype = ctypes.c_void_p
    held = 0
    while held < MOST:
        segment = libc.shmget(0, 8 << 20, 0o1600)
        if segment < 0:
            raise OSError(ctypes.get_errno(), "shmget")
        at = libc.shmat(segment, None, 0)
        if at in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), "shmat")
        for part in range(8):
            ctypes.memmove(at + part * len(MIB), MIB, len(MIB))
        libc.shmdt(ctypes.c_void_p(at))  # attached nowhere, and still there
        held += 8 << 20


def children():
    for _ in range(16):
        if os.fork() == 0:
            held = [bytearray(MIB) for _ in range(MOST >> 24)]
            time.sleep(3)
            os._exit(len(held) == 0)
    time.sleep(2)


def hugetlb():
    page = mmap.mmap(-1, MOST, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)
    page[0] = 1


def locked():
    libc.mmap.restype = ctypes.c_void_p
    page = mmap.mmap(-1, MOST)
    at = ctypes.addressof(ctypes.c_char.from_buffer(page))
    if libc.mlock(ctypes.c_void_p(at), ctypes.c_size_t(MOST)) < 0:
        raise OSError(ctypes.get_errno(), "mlock")


def page_tables():
    """A page read every 2 MiB: what is held is almost only tables, 4 KiB each."""
    page = mmap.mmap(-1, MOST << 9, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
    page.madvise(15)  # MADV_NOHUGEPAGE
    for at in range(0, MOST << 9, 2 << 20):
        page[at]
    time.sleep(1)


def pipes():
    held, payload = 0, bytes(65536)
    while held < MOST:
        reading, writing = os.pipe2(os.O_NONBLOCK)
        try:
            fcntl.fcntl(writing, 1031, 1 << 20)  # F_SETPIPE_SZ
        except OSError:
            pass
        try:
            while True:
                held += os.write(writing, payload)
        except BlockingIOError:
            pass


def sockets():
    held, payload, kept = 0, bytes(65536), []
    while held < MOST:
        pair = socket.socketpair()
        kept.append(pair)
        pair[0].setblocking(False)
        try:
            while True:
                held += pair[0].send(payload)
        except BlockingIOError:
            pass
    time.sleep(1)


try:
    globals()[sys.argv[1]]()
    print("never")
except MemoryError:
    print("ENOMEM")
except OSError as error:
    print(errno.errorcode.get(error.errno, error))
except ValueError as error:
    print(error)
