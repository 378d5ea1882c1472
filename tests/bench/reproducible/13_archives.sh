# tar, gzip and zip hold the times of what they pack.
# equal: D2
# times: D3 (of a.tgz: gzip opens it while tar asks the time)
# varies
# needs: tar gzip python3
set -eu
mkdir td; for i in 1 2 3 4 5; do echo $i >td/f$i; done
tar cf a.tar td; tar --format=pax -cf b.tar td; tar cf - td | gzip >a.tgz
python3 -c 'import zipfile; z = zipfile.ZipFile("p.zip", "w"); [z.write("td/f%d" % i) for i in range(1, 6)]; z.close()'
tar tvf a.tar --full-time
mkdir out; tar xf b.tar -C out; stat -c '%n %y' out/td/*
sha256sum a.tar b.tar a.tgz p.zip
