"""Tables of data sets: from folders, drawn, joined, exported."""
