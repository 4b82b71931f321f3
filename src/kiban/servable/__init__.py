"""The model as it is served: a folder with the model file, the contract and a manifest that names every byte of it.

export.py needs scikit-learn, load.py does not.
"""
