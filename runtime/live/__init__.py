"""`pocketlens live`: what is done with each frame, decided, shown and recorded."""
