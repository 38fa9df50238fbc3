"""The model as it is trained, in PyTorch: vision-language base, hazard head, sound, chat template, losses."""
