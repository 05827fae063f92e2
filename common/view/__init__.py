"""3-D views of saved masks: surfaces, point tables, files for ParaView, two studies side by side."""
