"""Publishing: the stage `publish`, which brings a model of the run to a hub. The hub's client is imported late."""
