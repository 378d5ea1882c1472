echo begun
sleep 60
