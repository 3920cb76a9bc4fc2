"""The stages `pairs` and `reward-model`: preferences between responses, and a model that has learned them."""
