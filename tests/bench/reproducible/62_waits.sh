# select, poll, epoll and timed waits that run out, one after the other, with the clock between them.
# equal: D1
# needs: python3
set -eu
python3 - <<'P'
import os, queue, select, socket, threading, time
r, w = os.pipe()
def took(what, wait):
    begun = time.monotonic(); wait(); spent = time.monotonic() - begun
    print(what, "short" if spent < 0.0199 else "long" if spent > 0.2 else "right", round(time.monotonic(), 5))
p = select.poll(); p.register(r, select.POLLIN)
e = select.epoll(); e.register(r, select.EPOLLIN)
took("select", lambda: select.select([r], [], [], 0.02))
took("poll", lambda: p.poll(20))
took("epoll", lambda: e.poll(0.02))
took("sleep", lambda: time.sleep(0.02))
took("event", lambda: threading.Event().wait(0.02))
s = socket.socketpair()[0]; s.settimeout(0.02)
def receive():
    try: s.recv(1)
    except OSError: pass
took("recv", receive)
P
