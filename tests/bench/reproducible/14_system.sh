# What the kernel says about itself and its tasks.
# equal: never (reads of /proc and /sys that no cover can hide)
set -eu
ps aux || true
cat /proc/self/stat /proc/loadavg /proc/uptime /proc/sys/kernel/random/uuid /proc/self/mountinfo
head -5 /proc/self/maps; head -30 /proc/cpuinfo; readlink /proc/self/ns/*; cat /proc/self/status
nproc; df; uname -a; ls -i /
