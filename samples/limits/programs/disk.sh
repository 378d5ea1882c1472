head -c 64M /dev/zero >big
echo "head ended with $?"
