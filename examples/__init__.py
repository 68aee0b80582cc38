"""Applications that use `manifold` as anybody would."""
