# A build that writes when, where and by whom it was made into the program.
# equal: D1
# varies
# needs: gcc
set -eu
cat >version.sh <<'S'
printf '#define BUILT "%s"\n#define HOST "%s"\n#define NUMBER %d\n' "$(date -u +%FT%T.%NZ)" "$(hostname)" "$((RANDOM * 32768 + RANDOM))"
S
cat >main.c <<'C'
#include <stdio.h>
#include "version.h"
int main(void)
{
    printf("%s %s %d %s %s\n", BUILT, HOST, NUMBER, __DATE__, __TIME__);
    return 0;
}
C
bash version.sh >version.h
gcc -O2 -g -Wl,--build-id=uuid -o main main.c
./main
sha256sum main version.h
readelf -n main | grep 'Build ID'
