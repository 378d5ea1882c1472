# A parallel build, an edit, and the build again.
# equal: D3
# needs: gcc make
set -eu
mkdir mk; cd mk
for i in 1 2 3 4 5 6; do echo "int f$i(int x) { return x * $i; }" >o$i.c; done
{ for i in 1 2 3 4 5 6; do echo "int f$i(int);"; done; echo '#include <stdio.h>'
  echo 'int main(void) { int s = 0;'; for i in 1 2 3 4 5 6; do echo "s += f$i(s + 1);"; done; echo 'printf("%d\n", s); return 0; }'; } >main.c
printf 'prog: main.o o1.o o2.o o3.o o4.o o5.o o6.o\n\tgcc -o $@ $^\n%%.o: %%.c\n\tgcc -g -c -o $@ $<\n' >Makefile
make -j4; ./prog; sha256sum prog ./*.o
touch o2.c; make -j4
