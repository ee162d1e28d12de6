"""Avro records into columns, without a Python object per record.

    writer's schema ─▶ program.py: a program of a few dozen instructions ┐
    values of a batch, joined ───────────────────────────────────────────┴▶ rows.py: numbers, and where texts stand
    where texts stand ─▶ interning.py: stable codes, the same bytes always the same code

The compiled reader only says what it is sure of. A record that is unusual in any way (truncated, overlong, not UTF-8, a branch
of a union that our schema does not have) is left to fastavro, which also says what is wrong with it (schemas/reading.py).
"""
