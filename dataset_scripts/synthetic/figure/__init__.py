"""A drawn person: body, head, garments, belongings."""
