"""The command line. Each command parses, calls the package, prints; files hold one command, or a few of one kind."""
