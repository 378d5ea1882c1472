# Two compilers with debugging information; names of temporary files must not get into what they make.
# equal: D1
# needs: gcc g++
set -eu
printf '#include <stdio.h>\nint main(void) { int x[4]; printf("%%s %%s %%p\\n", __DATE__, __TIME__, (void *)x); }\n' >a.c
printf '#include <map>\n#include <iostream>\nint main() { std::map<int, int> m{{2, 1}, {1, 2}}; for (auto &p : m) std::cout << p.first << &p.second << "\\n"; }\n' >b.cc
gcc -g -O2 -o a a.c; ./a; ./a
g++ -g -O1 -o b b.cc; ./b
sha256sum a b
