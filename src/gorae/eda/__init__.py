"""What the data are, and what in them would make a score lie: numbers, no pictures of them."""
