"""One thin module a command: options -> configuration -> one stage -> the path made."""
