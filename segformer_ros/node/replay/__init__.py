"""The replay node: plays a recording as the topics of a camera."""
