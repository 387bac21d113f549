"""The command line: one small file a command. Each parses, calls, prints."""
