"""The bounds of all readers: what a file may claim or hold before it is believed. `docs/files.md` lists them.

A bound is far above what any study or image needs, and low enough that a small file can take neither the memory nor
the time of the machine. Readers compare a file's claims with its length first, and then with these.
"""

# Images and fields
MOST_VOXELS = 1 << 29
"""Of an image or of the grid of a field: 4 GiB in double precision; a CT of 512 x 512 x 2000 voxels fits."""
LONGEST_HEADER = 1 << 20
"""Bytes of a text header (MetaImage, NRRD); segmentations of hundreds of structures have some 100 kB."""
MOST_EXPANSION = 1032
"""Bytes that gzip, zlib and zip can make of one: what claims more of its file is not in it."""
MOST_JPEG_EXPANSION = 1 << 14
"""Bytes that the compressions of DICOM make of one: those of an empty slice are the most."""
LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127
"""Of intensities and of numbers in rows: both are kept in single precision."""
MOST_FIELD_BYTES = 3 * 4 * MOST_VOXELS
"""Of the numbers of a field, or of all arrays of an .npz file: three components in single precision."""
MOST_TRANSFORMS = 1000
"""Of a composite."""

# Text: study files, tables, JSON
LONGEST_TEXT = 1 << 26
"""Bytes of a table, a list or a JSON file."""
LONGEST_YAML = 1 << 21
"""Bytes of a YAML file; the `study.yaml` of 10,000 trials has about 1 MB."""
MOST_DIGITS = 400
"""Of a number that is written out; float64 ends at 309."""
DEEPEST = 50
"""Levels of lists and mappings within each other, in YAML and JSON."""
MOST_NODES = 100_000
"""Values and keys of a YAML file, those of an alias counted wherever it stands."""

# Studies
MOST_TRIALS = 10_000
"""Of a study, and values of an axis."""
MOST_SETTINGS = 10_000_000
"""Of all trials of a study together, where each item of a list counts."""
LONGEST_NAME = 100
"""Characters of a study's name, which becomes a folder's."""
LONGEST_ID = 1000
"""Characters of a text in rows, such as a subject's identifier."""

# Rows and histories
MOST_ROWS = 5_000_000
"""Of a parquet file: 10,000 trials of 500 pairs."""
MOST_CELLS = 100_000_000
"""Rows times columns of a parquet file; 0.8 GiB in double precision."""

# Networks
MOST_SQUARINGS = 16
"""Steps of an integration; VoxelMorph takes 7."""
MOST_LEVELS = 8
"""Of a U-Net: images are padded to a multiple of 2 to this number; VoxelMorph has 4."""
MOST_CHANNELS = 1024
"""Features of a convolution; VoxelMorph has 32."""
MOST_CONVOLUTIONS = 16
"""After a U-Net; VoxelMorph has 2."""
LARGEST_MODEL = 1 << 30
"""Bytes of a file with a network's weights or of a checkpoint; VoxelMorph's weights in 3-D take 1.3 MB."""
LONGEST_ABOUT = 1 << 20
"""Characters of what a model's file says about its network."""
SPACINGS = (1e-6, 1e6)
"""mm per voxel of the images that a network was trained on, at least and at most."""
MOST_NETWORK_VOXELS = 1 << 28
"""Of a grid that a network registers on: it keeps dozens of numbers for each voxel."""

# Archives of data sets
MOST_MEMBERS = 100_000
"""Files and folders, where a data set does not say how many it has."""
MOST_UNPACKED = 1 << 34
"""Bytes, where a data set does not say how many it has."""
LONGEST_MEMBER_HEADER = 1 << 16
"""Bytes of the headers of one member; tarfile follows a chain of them by recursion."""
DEEPEST_PATH = 16
"""Folders within folders."""

# Names and tables
LONGEST_FILE_NAME = 255
"""Bytes of the name of a file, and characters of the id of a subject and of the name of a label."""
LONGEST_PATH = 4096
"""Bytes of a path in a list of files."""
LONGEST_LIST = 1 << 24
"""Bytes of a list of ids or of label names; that of FreeSurfer has 0.1 MB."""
MOST_COLUMNS = 10_000
"""Of a CSV table; the participants.tsv of a large cohort study has some thousands."""
MOST_TABLE_ROWS = 1_000_000
"""Of a CSV table: subjects or landmarks."""
