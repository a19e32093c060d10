"""Image transforms by family: parameters and sampling here, arithmetic in `featurelib.image.functional`."""
