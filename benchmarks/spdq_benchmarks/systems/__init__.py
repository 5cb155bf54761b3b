"""``spdq bench systems``: CSM, Mixer and the gated joint embedding beside baselines and ablations."""
