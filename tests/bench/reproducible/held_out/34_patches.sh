# Patches carry the times of both files in their heads.
# equal: D2
# varies
# needs: diff patch
set -eu
mkdir old new
for i in 1 2 3 4; do
    seq "$i" 40 >old/f$i
    sed "s/^2$i\$/changed $RANDOM/" old/f$i >new/f$i
done
rm new/f4
echo fresh >new/f5
diff -ruN old new >all.patch || test $? -eq 1
cat all.patch
cp -a old tree
(cd tree && patch -p1 -b -s <../all.patch && ls -l --full-time)
sha256sum all.patch tree/*
