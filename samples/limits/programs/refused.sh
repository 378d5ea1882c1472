echo "never run: the model refuses"
