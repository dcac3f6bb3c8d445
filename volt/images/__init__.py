"""Images: names and versions for trees of the store, and bringing them in and out."""
