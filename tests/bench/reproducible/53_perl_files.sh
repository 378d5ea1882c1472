# Files sorted by their times, temporary names, and what stat says of them.
# equal: D2
# varies
# needs: perl
set -eu
perl -MFile::Temp=tempfile -MTime::HiRes=stat,sleep -e '
    for my $n (5, 3, 1, 4) { open my $f, ">", "n$n" or die; print $f $n x $n; close $f; }
    my @names = sort { (stat $a)[9] <=> (stat $b)[9] or $a cmp $b } glob "n*";
    print join(" ", map { "$_ " . join ",", (stat $_)[0, 1, 7, 8, 9, 10] } @names), "\n";
    my ($f, $name) = tempfile(DIR => "."); print "$name\n"; print -M "n5", " ", -A "n3", "\n";'
