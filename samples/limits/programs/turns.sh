echo "once more"
