"""Linear classifiers of seen classes or attributes, transferred to unseen classes by their semantics."""
