"""A servable, the model as it is served: a folder with the model, its contract, and a manifest with their hashes.

load.py needs scikit-learn only for a model that ONNX cannot express. The stage train writes the servable.
"""
