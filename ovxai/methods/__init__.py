"""Sites to saliency maps: one file per method, and what they all hand back."""
