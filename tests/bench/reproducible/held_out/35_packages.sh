# Archives that are made by other tools than tar: ar with times, gzip with name and time, zip, cpio, a Debian package.
# equal: D2
# times: D3 (of p.cpio: cpio opens it while find asks the time)
# varies
# needs: ar gzip python3
set -eu
mkdir -p p/DEBIAN p/usr/share/doc/x
printf 'Package: x\nVersion: 1.0+%s\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n' "$(date +%s)" >p/DEBIAN/control
date >p/usr/share/doc/x/changelog
echo one >one; echo two >two
ar rcU lib.a one two; ar tv lib.a
gzip -kN one; gzip -lN one.gz; gzip -lv one.gz
python3 - <<'P'
import gzip, tarfile, zipfile
with gzip.open("g.gz", "wb") as f: f.write(b"x" * 1000)
with zipfile.ZipFile("z.zip", "w", zipfile.ZIP_DEFLATED) as z:
    z.write("one"); z.write("two"); z.writestr("three", "3")
    print([(i.filename, i.date_time) for i in z.infolist()])
with tarfile.open("t.tar.gz", "w:gz") as t: t.add("p")
P
if command -v dpkg-deb >/dev/null; then dpkg-deb --root-owner-group -b p x.deb; fi
if command -v cpio >/dev/null; then find p | cpio -o -H newc 2>/dev/null >p.cpio; fi
sha256sum lib.a one.gz g.gz z.zip t.tar.gz $(ls x.deb p.cpio 2>/dev/null)
