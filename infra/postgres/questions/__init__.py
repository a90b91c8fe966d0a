"""What is asked of the read models, by whoever asks: the command line, and later HTTP. Each question takes an `Answer`.

What a row means is told by the rules in `projections/`; the statements here find and count the same where the rows are.
Tables are named without a schema: what `infra.replay` made for a moment that is over is asked in the same words.
"""
