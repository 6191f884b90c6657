"""`decoders bench report`: quality runs as one page, as plots and as a table."""
