"""What every other room borrows: a model's graph as facts, and the only place where one is read, changed and saved."""
