"""Deployment bundles: folders that run on a device without Python."""
