"""The bounds of all readers: what a file may claim or hold before it is believed. `docs/files.md` lists them.

A bound is far above what any study or image needs, and low enough that a small file can take neither the memory nor
the time of the machine. Readers compare a file's claims with its length first, and then with these.
"""

# Images and fields
MOST_VOXELS = 1 << 29
"""Of an image or of the grid of a field: 4 GiB in double precision; a CT of 512 x 512 x 2000 voxels fits."""
LONGEST_HEADER = 1 << 16
"""Bytes of a text header (MetaImage, NRRD) and of the data that may precede the end of any other header."""

# Text: study files, tables, JSON
LONGEST_TEXT = 1 << 26
"""Bytes of a table, a list or a JSON file."""
LONGEST_YAML = 1 << 23
"""Bytes of a YAML file; the `study.yaml` of 10,000 trials has about 1 MB."""
MOST_DIGITS = 400
"""Of a number that is written out; float64 ends at 309."""

# Studies
MOST_TRIALS = 10_000
"""Of a study, and values of an axis."""

# Archives of data sets
MOST_MEMBERS = 100_000
"""Files and folders, where a data set does not say how many it has."""
MOST_UNPACKED = 1 << 34
"""Bytes, where a data set does not say how many it has."""
DEEPEST_PATH = 16
"""Folders within folders."""

# Names and tables
LONGEST_NAME = 255
"""Bytes of the name of a file, a subject or a label."""
LONGEST_PATH = 4096
"""Bytes of a path in a list of files."""
MOST_COLUMNS = 10_000
"""Of a CSV table; the participants.tsv of a large cohort study has some thousands."""
MOST_ROWS = 1_000_000
"""Of a CSV table: subjects or landmarks."""
