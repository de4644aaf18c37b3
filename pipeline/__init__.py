"""One run: subjects -> pairs -> loaders -> training -> evaluation -> rows."""
