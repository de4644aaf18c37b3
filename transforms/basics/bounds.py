"""The bounds that every reader checks before it believes a file. `docs/files.md` lists them.

A bound is far above what any study or image needs, but low enough that a small file can take neither the memory nor
the time of the machine. Readers compare a file's claims first with its length, then with these bounds.
"""

# Images and fields
MOST_VOXELS = 1 << 29
"""Voxels of an image or of a field's grid: 4 GiB in double precision; a CT of 512 x 512 x 2000 voxels fits."""
LONGEST_HEADER = 1 << 20
"""Bytes of a text header (MetaImage, NRRD); segmentations of hundreds of structures have about 100 kB."""
MOST_EXPANSION = 1032
"""Bytes that gzip, zlib and zip can make of one byte. A file that claims more does not hold it."""
MOST_JPEG_EXPANSION = 1 << 14
"""Bytes that DICOM's compressions can make of one byte; an empty slice gives the most."""
LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127
"""Largest intensity, and largest number in rows; both are stored in single precision."""
MOST_FIELD_BYTES = 3 * 4 * MOST_VOXELS
"""Bytes of a field, or of all arrays of an .npz file: three components in single precision."""
MOST_TRANSFORMS = 1000
"""Transforms in a composite."""

# Text: study files, tables, JSON
LONGEST_TEXT = 1 << 26
"""Bytes of a table, a list or a JSON file."""
LONGEST_YAML = 1 << 21
"""Bytes of a YAML file; the `study.yaml` of 10,000 trials has about 1 MB."""
MOST_DIGITS = 400
"""Characters of one number in a text file; float64 ends at 309 digits."""
DEEPEST = 50
"""Levels of nested lists and mappings in YAML and JSON."""
MOST_NODES = 100_000
"""Values and keys of a YAML file; those of an alias count at every place where it is used."""

# Studies
MOST_TRIALS = 10_000
"""Trials of a study, and values of each of its axes."""
MOST_SETTINGS = 10_000_000
"""Settings of all trials of a study together; each item of a list counts."""
LONGEST_NAME = 100
"""Characters of a study's name, which is used as a folder name."""
LONGEST_ID = 1000
"""Characters of a text in rows, such as a subject's identifier."""

# Rows and histories
MOST_ROWS = 5_000_000
"""Rows of a parquet file: 10,000 trials of 500 pairs."""
MOST_CELLS = 100_000_000
"""Rows times columns of a parquet file; 0.8 GiB in double precision."""

# Networks
MOST_SQUARINGS = 16
"""Squarings of an integration; VoxelMorph uses 7."""
MOST_LEVELS = 8
"""Levels of a U-Net. Images are padded to a multiple of 2^levels. VoxelMorph has 4."""
MOST_CHANNELS = 1024
"""Features of a convolution; VoxelMorph has 32."""
MOST_CONVOLUTIONS = 16
"""Convolutions after a U-Net; VoxelMorph has 2."""
LARGEST_MODEL = 1 << 30
"""Bytes of a weight file or a checkpoint; VoxelMorph's weights in 3-D take 1.3 MB."""
LONGEST_ABOUT = 1 << 20
"""Characters of the description in a model file."""
SPACINGS = (1e-6, 1e6)
"""Smallest and largest voxel size of a network's training images, in mm."""
MOST_NETWORK_VOXELS = 1 << 28
"""Voxels of a grid that a network registers on; it stores dozens of numbers per voxel."""

# Archives of data sets
MOST_MEMBERS = 100_000
"""Files and folders in an archive, unless the data set states their number."""
MOST_UNPACKED = 1 << 34
"""Bytes of an unpacked archive, unless the data set states their number."""
LONGEST_MEMBER_HEADER = 1 << 16
"""Bytes of the headers of one member; tarfile follows a chain of them by recursion."""
DEEPEST_PATH = 16
"""Levels of nested folders."""

# Names and tables
LONGEST_FILE_NAME = 255
"""Bytes of a file name; characters of a subject's id and of a label's name."""
LONGEST_PATH = 4096
"""Bytes of a path in a list of files."""
LONGEST_LIST = 1 << 24
"""Bytes of a list of ids or label names; FreeSurfer's has 0.1 MB."""
MOST_COLUMNS = 10_000
"""Columns of a CSV table; the participants.tsv of a large cohort study has several thousand."""
MOST_TABLE_ROWS = 1_000_000
"""Rows of a CSV table: subjects or landmarks."""
