# A repository in one call; its index holds the times and numbers of files.
# equal: D2
# varies
# needs: git
set -eu
export HOME=/tmp
echo 1 >a.c; echo 2 >b.c
git init -q -b main .; git config user.email a@example.org; git config user.name A
git add a.c b.c; git commit -q -m x; git log --format='%H %cd'; git status -s; sha256sum .git/index
