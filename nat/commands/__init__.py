"""The commands of `nat`: thin, each over one function of the library."""
