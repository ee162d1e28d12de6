"""Files as events: STDF, CSV and Parquet, read twice: once to see that all of it is right, once to publish it."""
