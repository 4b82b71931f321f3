"""The model as it is served: a folder with the model file, the contract and a manifest that names every byte of it.

load.py needs scikit-learn only for a model that ONNX cannot express; what makes a servable is in train/.
"""
