# Arithmetic with dates in four languages; the hour is the box's, never the host's.
# equal: D1
# varies
# needs: python3 perl
set -eu
date -d 'next friday + 3 weeks' +%F
date -u -d "@$(($(date +%s) / 86400 * 86400))" +%A
printf '%(%Y-%m-%d %H:%M:%S)T\n' -1
awk 'BEGIN { srand(); srand(); printf "%d\n", srand() }'
perl -MPOSIX -e 'print strftime("%Y %j %U %H:%M:%S", gmtime), "\n"'
python3 - <<'P'
import calendar, datetime, time
now = datetime.datetime.now(datetime.timezone.utc)
print(now.isoformat(), calendar.monthrange(now.year, now.month), time.strftime("%c", time.localtime()))
print([(now + datetime.timedelta(days=n)).strftime("%a") for n in range(7)])
deadline = time.monotonic() + 0.05
while time.monotonic() < deadline:
    pass
print(round((datetime.datetime.now(datetime.timezone.utc) - now).total_seconds(), 6))
P
touch stamp && sleep 0.02 && echo "$EPOCHREALTIME $SECONDS"
