"""Trains models of retention risk from labels. Only here numpy and scikit-learn are used: the extra `train`."""
