"""`python -m ovxai`: the same as the command `ovxai`."""

from ovxai.cli.main import main

main(prog_name="ovxai")
