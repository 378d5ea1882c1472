# A log with times, trees copied with their stamps, temporary names, a backup that is told apart by age.
# equal: D2
# varies
# needs: python3
set -eu
python3 - <<'P'
import logging, os, pathlib, shutil, tempfile, time
logging.basicConfig(filename="run.log", level=logging.INFO, format="%(asctime)s.%(msecs)03d %(process)d %(thread)d %(message)s")
src = pathlib.Path("src"); src.mkdir()
for n in range(6):
    (src / f"f{n}").write_text(str(n)); logging.info("wrote %d", n); time.sleep(0.002)
shutil.copytree("src", "copy"); shutil.copytree("src", "plain", copy_function=shutil.copyfile)
for tree in ("src", "copy", "plain"):
    print(tree, [os.stat(f"{tree}/f{n}").st_mtime_ns for n in range(6)])
tmp = tempfile.mkdtemp(dir="."); print(tmp)
fd, name = tempfile.mkstemp(suffix=".x", dir=tmp); os.close(fd); print(name)
print(shutil.make_archive("all", "gztar", "src"))
newest = max(src.iterdir(), key=lambda p: p.stat().st_mtime_ns); print(newest)
os.utime("src/f0", ns=(10**18, 10**18 + 123456789)); print(os.stat("src/f0").st_mtime_ns)
P
cat run.log
sha256sum all.tar.gz run.log
