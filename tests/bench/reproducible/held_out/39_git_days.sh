# A repository over three calls: commits, a branch, a merge, status after each, packed in the end.
# equal: D2
# varies
# needs: git
set -eu
export HOME=/tmp
git init -q -b main repo
cd repo
git config user.email a@example.org; git config user.name A
for i in 1 2 3; do echo "$i" >"f$i"; git add .; git commit -q -m "change $i"; done
git status -s
git log --format='%H %ci'
sha256sum .git/index
### next call
cd repo
export HOME=/tmp
git status -s
git checkout -q -b side; echo side >>f1; git commit -qam side
git checkout -q main; echo main >>f2; git commit -qam main
git merge -q -m both side
git log --graph --format='%h %cd %s' --date=iso
git ls-files --debug | head -24
### next call
cd repo
export HOME=/tmp
git status -s
git -c gc.auto=0 repack -qad
git fsck
git bundle create -q ../all.bundle main
git archive --format=tar main | sha256sum
sha256sum ../all.bundle .git/index .git/objects/pack/*
