touch wrong
echo done
