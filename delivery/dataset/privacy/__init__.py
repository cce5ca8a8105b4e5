"""Identifiers of people and secrets: found, replaced by placeholders, and kept in a vault under a key that lies apart."""
