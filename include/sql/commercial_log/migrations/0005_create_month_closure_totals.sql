-- Creates the table of what each month held when it was closed, which is what finance reports from then on.
-- Reads: nothing. Writes: schema only. Params: none. Re-run: safe, an existing table is left as it is.
-- Months closed before this migration have no row: nobody knows what they held then.

CREATE TABLE IF NOT EXISTS month_closure_totals (
    broadcast_month TEXT NOT NULL PRIMARY KEY REFERENCES month_closures (broadcast_month) ON DELETE CASCADE,
    spots           INTEGER NOT NULL,
    gross_sum       REAL NOT NULL,
    net_sum         REAL NOT NULL
) STRICT;
