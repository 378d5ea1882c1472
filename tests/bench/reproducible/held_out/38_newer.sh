# What is newer than what, within a call and from one call to the next; a build that is made again after an edit.
# equal: D2
# needs: make
set -eu
cat >Makefile <<'M'
all: a.out b.out
%.out: %.in
	@echo "make $@"
	@cp $< $@
M
echo a >a.in; echo b >b.in
make; make
sleep 0.01
echo a2 >a.in
make
touch mark; echo late >late
find . -newer mark -type f | sort
if [ late -nt mark ]; then echo newer; fi
### next call
make
echo b2 >b.in
make
find . -newer mark -type f | sort
touch -d '2020-02-02 02:02:02' old; touch -r old older
if [ old -ot mark ]; then echo older; fi
stat -c '%n %y' old older
### next call
make
touch a.in
make
ls -t
