"""The networks of the papers, one file per architecture."""
