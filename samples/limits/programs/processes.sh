python3 -c '
import os, time
try:
    for n in range(64):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    print("never")
except OSError as error:
    print(error)
'
