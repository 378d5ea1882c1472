python3 -c '
held = [bytearray(b"x") * (1 << 20) for n in range(1024)]
print("never")
'
