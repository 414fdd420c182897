"""The command line: argv in, one call of the library, an exit code out."""
