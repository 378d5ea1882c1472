# Numbers that programs print without thinking: inodes, devices, link counts, block counts, in a tree that changes.
# equal: D2
set -eu
mkdir -p t/a t/b
for i in 1 2 3 4 5; do echo "$i" >t/a/$i; ln t/a/$i t/b/$i; done
ln -s ../a t/b/link
ls -i t/a
stat -c '%n %i %d %h %s %b %a %F %y' t/a/1 t/b/1 t/b/link
rm t/a/3; mv t/a/4 t/a/four; cp t/a/5 t/a/six
ls -Ui t/a
du -ab t | sort -k2
find t -printf '%p %i %n %T@\n' | sort
### next call
ls -Ui t/a
stat -c '%n %i %d %h %y' t/a/* t/b/*
find t -printf '%p %i %n %T@\n'
touch t/new; stat -c '%i' t/new
