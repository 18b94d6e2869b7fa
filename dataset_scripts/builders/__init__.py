"""Tables of data sets: read from folders, drawn, concatenated, exported."""
