"""What tests share: hand-made graphs and model files, oracles, and short ways to call the program."""
