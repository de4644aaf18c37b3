"""The commands, a module for each kind. Heavy modules are imported when a command is called: --help answers at once."""
