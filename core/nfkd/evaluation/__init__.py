"""What a trained flow is worth: likelihood, throughput, interpolation, and the verdict."""
