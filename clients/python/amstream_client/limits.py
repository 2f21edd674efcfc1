"""What the service takes in a sample; it refuses the rest, and a batch with it."""

LARGEST_INPUT = 1e15
LARGEST_WEIGHT = 1e6
EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_799.0  # seconds since 1970: the years 1 to 9999
LOWEST_LABEL, HIGHEST_LABEL = -(2**63), 2**63 - 1
LONGEST_LABEL = 256  # characters
