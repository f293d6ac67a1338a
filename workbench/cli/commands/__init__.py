"""One module per noun; each command decodes its arguments, asks the engine once, and prints."""
