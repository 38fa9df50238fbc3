"""From one picture to one spoken instruction: look, decide, say.

`loop` runs the model on the newest picture and hands the result to the policy (shared.policy). Nothing here waits for
the network or the disk.
"""
