"""The content-addressed store: objects by SHA-256, trees made of them, and the images by which they are mounted."""
