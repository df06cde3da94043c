"""Files: replaced as a whole, with a checksum, and with arrays and a header in one."""
