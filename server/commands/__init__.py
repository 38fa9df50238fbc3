"""Commands of waycue-server about the dataset. Each module has `add_parser(commands)` and `run(options) -> int`."""
