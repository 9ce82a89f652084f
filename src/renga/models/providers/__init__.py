"""Ways to reach a model. Each module is one kind of provider; siblings never import each other."""
