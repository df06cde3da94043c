"""Models as ONNX files, which other programs run without tabemb, torch or Python."""
