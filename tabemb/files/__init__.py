"""Files that are replaced as a whole, have a checksum, and store arrays with a header."""
