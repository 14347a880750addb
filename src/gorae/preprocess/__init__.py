"""Ordered steps from a decoded picture to the stored one; arrays in, arrays out."""
