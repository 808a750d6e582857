"""Linear classifiers of seen classes or attributes, carried over to unseen classes by their semantics."""
