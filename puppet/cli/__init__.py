"""The command line. Only these modules print and exit; everything below raises."""
