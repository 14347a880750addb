"""Random changes of training pictures, and the deterministic views of prediction.

``plan`` and ``names`` say what is wanted and load no torch; the other modules do it.
"""
