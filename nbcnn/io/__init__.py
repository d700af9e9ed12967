"""Bytes on disk: files that are replaced as a whole, and readers of the formats that models come
in. Nothing here knows models; nothing that is read is trusted.
"""
