import cowsay

print(cowsay.get_output_string("tux", "I came from PyPI"))
