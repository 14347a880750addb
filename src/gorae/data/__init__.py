"""From raw files to tables and pixels."""
